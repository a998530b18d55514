// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <variant>
#include <vector>

#include "runtime/tokenizer/regex.h"

namespace unmask::runtime::tokenizer {

/// A text cut into words, which a later step may rewrite.
struct Words {
  struct Range {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  std::string text;
  std::vector<Range> ranges;  ///< in order, none empty; what lies in no range is dropped
};

/// Cuts a text into the words that the model encodes one by one, and writes them in the byte-level alphabet.
class PreTokenizer {
 public:
  /// null, Split, ByteLevel, or a Sequence of these; throws Error(kBadInput) for anything else, by name.
  static PreTokenizer parse(const nlohmann::json& value, const std::string& where);

  void run(Words& words, Regex::Scratch& scratch) const;

 private:
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  enum class Delimiter { kMatches, kRest };  ///< kRest: "invert"
  struct Split {
    Regex pattern;
    Behavior behavior;
    Delimiter delimiter;
    void run(Words& words, Regex::Scratch& scratch) const;
  };
  struct PrefixSpace {
    void run(Words& words, Regex::Scratch& scratch) const;
  };
  struct ByteLevel {
    void run(Words& words, Regex::Scratch& scratch) const;
  };
  static void merge(Behavior behavior, std::vector<Match>& parts);
  void add(const nlohmann::json& value, const std::string& where);

  std::vector<std::variant<Split, PrefixSpace, ByteLevel>> steps_;
};

}  // namespace unmask::runtime::tokenizer
