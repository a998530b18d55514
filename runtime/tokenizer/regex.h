// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace unmask::runtime::tokenizer {

/// A pattern of Oniguruma's Ruby syntax, which tokenizer.json is written in, as one for PCRE2 (UTF, UCP, newline LF) that
/// matches the same. What means something else there is spelled out; what has no certain equal is refused by name.
/// Throws Error(kBadInput).
std::string pcre2_pattern(std::string_view onig, const std::string& where);

/// Part of a text and whether the pattern matched it.
struct Match {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool matched = false;
};

/// A compiled pattern. Immutable; safe to use from several threads.
class Regex {
 public:
  enum class Syntax { kLiteral, kPattern };
  Regex(Syntax syntax, std::string_view pattern, const std::string& where);
  ~Regex();
  Regex(Regex&&) noexcept;

  /// Working memory of the matcher, for one thread at a time.
  class Scratch {
   public:
    Scratch();
    ~Scratch();

   private:
    friend class Regex;
    struct Impl;
    std::unique_ptr<Impl> impl_;
  };

  /// Cuts a text (valid UTF-8) into matches and what lies between, with places counted from its begin. An empty match right
  /// after a match does not count. Replaces `out`. Throws Error(kBadInput) when matching takes too many steps.
  void cut(std::string_view text, Scratch& scratch, std::vector<Match>& out) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace unmask::runtime::tokenizer
