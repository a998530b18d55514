// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace unmask::runtime::tokenizer {

using UserSpans = std::vector<SourcedText::Span>;  ///< ascending, disjoint byte ranges

/// Whether any byte of [begin, end) lies in a span.
bool overlaps(std::span<const SourcedText::Span> spans, std::size_t begin, std::size_t end);

/// The spans' parts within [begin, end), counted from `begin`.
UserSpans slice(std::span<const SourcedText::Span> spans, std::size_t begin, std::size_t end);

/// What happens to a text before it is split: nothing, or Unicode normal form C.
class Normalizer {
 public:
  /// null, NFC, or a Sequence of these; throws Error(kBadInput) for anything else, by name.
  static Normalizer parse(const nlohmann::json& value, const std::string& where);

  /// The normal form of valid UTF-8. Where characters of the user's and others combine, the result counts as the user's.
  SourcedText apply(std::string_view text, std::span<const SourcedText::Span> user) const;
  bool changes_nothing() const { return !nfc_; }

 private:
  bool nfc_ = false;
};

}  // namespace unmask::runtime::tokenizer
