// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/format.h"

namespace unmask::runtime::tokenizer {

/// Oniguruma's Ruby syntax to PCRE2: where both read a construct alike it is passed on, where they differ it is spelled
/// out, and the rest is refused. Groups and quantifiers are in onig_pattern.cpp, characters and their classes in
/// onig_characters.cpp.
class PatternTranslator {
 public:
  PatternTranslator(std::string_view pattern, const std::string& where) : in_(pattern), where_(where) {}

  /// The PCRE2 pattern; once. Throws Error(kBadInput).
  std::string run();

 private:
  enum class Case { kMatters, kIgnored };
  enum class Place { kOutside, kInClass };

  void refuse_if(bool wrong, std::string_view what) const;
  bool take(std::string_view token);
  char32_t next_character();
  /// Translates one construct; true if a quantifier may follow it.
  bool step();
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
  void literal(char32_t c, Place place);
  void hex(char32_t c) { out_ += format("\\x{{{:x}}}", static_cast<std::uint32_t>(c)); }
  void open_group();
  void character_class();
  /// What follows a backslash; true if a quantifier may follow.
  bool escape(Place place);
  /// \p{...} or \P{...}, of which `letter` is read.
  void property(char32_t letter);
  char32_t code_after_x();
  char32_t digits(std::size_t count);
  /// {n}, {n,} or {n,m} at this place, as written.
  std::optional<std::string_view> interval() const;
  void quantifier();

  std::string_view in_;
  const std::string& where_;
  std::string out_;
  std::size_t at_ = 0;
  std::vector<Case> case_ = {Case::kMatters};  ///< of the open groups
  char previous_letter_ = 0;                   ///< lower case; where case is ignored
};

}  // namespace unmask::runtime::tokenizer
