// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "base/error.h"
#include "runtime/tokenizer/onig_translator.h"
#include "runtime/tokenizer/regex.h"
#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime::tokenizer {

using namespace std::string_view_literals;

std::string PatternTranslator::run() {
  if (take("(?i)")) {  // elsewhere than at the begin its reach differs
    case_.back() = Case::kIgnored;
    out_ += "(?i)";
  }
  while (at_ < in_.size()) {
    if (const bool is_atom = step(); is_atom) {
      quantifier();
    }
  }
  refuse_if(case_.size() != 1, "an unclosed group");
  return std::move(out_);
}

void PatternTranslator::refuse_if(bool wrong, std::string_view what) const {
  require(!wrong, ExitCode::kBadInput, "{}: the pattern {} has {} at byte {}, which is not supported", where_, shown(in_), what, at_);
}

bool PatternTranslator::take(std::string_view token) {
  if (!in_.substr(at_).starts_with(token)) {
    return false;
  }
  at_ += token.size();
  return true;
}

bool PatternTranslator::step() {
  if (in_[at_] != '\\' && !is_letter(in_[at_])) {
    previous_letter_ = 0;
  }
  if (take("|")) {
    out_ += '|';
    return false;
  }
  if (take("^")) {
    out_ += "(?m:^)";  // in Ruby these two are about lines
    return false;
  }
  if (take("$")) {
    out_ += "(?m:$)";
    return false;
  }
  if (take(".")) {
    out_ += "[^\\x{a}]";
    return true;
  }
  if (in_[at_] == '(') {
    open_group();
    return false;
  }
  if (take(")")) {
    refuse_if(case_.size() == 1, "a closing parenthesis too many");
    case_.pop_back();
    out_ += ')';
    return true;
  }
  if (take("[")) {
    character_class();
    return true;
  }
  if (take("\\")) {
    return escape(Place::kOutside);
  }
  refuse_if(in_[at_] == '*' || in_[at_] == '+' || in_[at_] == '?', "a quantifier with nothing to repeat");
  refuse_if(interval().has_value(), "an interval with nothing to repeat");
  literal(next_character(), Place::kOutside);
  return true;
}

void PatternTranslator::open_group() {
  Case inside = case_.back();
  constexpr std::array kPlain = {"(?:"sv, "(?="sv, "(?!"sv, "(?<="sv, "(?<!"sv, "(?>"sv};
  const auto plain = std::find_if(kPlain.begin(), kPlain.end(), [&](auto token) { return in_.substr(at_).starts_with(token); });
  if (plain != kPlain.end()) {
    out_ += *plain;
    take(*plain);
  } else if (take("(?i:")) {
    inside = Case::kIgnored;
    out_ += "(?i:";
  } else if (take("(?-i:")) {
    inside = Case::kMatters;
    out_ += "(?-i:";
  } else {
    refuse_if(in_.substr(at_).starts_with("(?"), "a group of this kind");
    take("(");
    out_ += "(?:";  // nobody asks what a group captured
  }
  refuse_if(case_.size() > 200, "groups more than 200 deep");
  case_.push_back(inside);
}

std::optional<std::string_view> PatternTranslator::interval() const {
  const std::string_view rest = in_.substr(at_);
  if (!rest.starts_with('{')) {
    return std::nullopt;
  }
  const std::size_t end = rest.find('}');
  const std::string_view body = rest.substr(1, end == std::string_view::npos ? 0 : end - 1);
  const bool fits = !body.empty() && body.find_first_not_of("0123456789,") == std::string_view::npos &&
                    std::count(body.begin(), body.end(), ',') <= 1 && body != ",";
  return fits ? std::optional(rest.substr(0, end + 1)) : std::nullopt;
}

void PatternTranslator::quantifier() {
  if (const auto braces = interval()) {
    refuse_if(braces->starts_with("{,"), "an interval without a lower end");
    const std::size_t comma = braces->find(',');
    const auto number = [&](std::string_view text) {
      refuse_if(text.size() > 4, "an interval this long");
      int value = 0;
      for (const char digit : text) {
        value = value * 10 + (digit - '0');
      }
      return value;
    };
    const std::string_view low = braces->substr(1, (comma == std::string_view::npos ? braces->size() - 1 : comma) - 1);
    const std::string_view high = comma == std::string_view::npos ? low : braces->substr(comma + 1, braces->size() - comma - 2);
    refuse_if(number(low) > (high.empty() ? 9999 : number(high)), "an interval that ends before it begins");
    at_ += braces->size();
    out_ += *braces;
    // After braces Ruby reads ? and + in ways of its own.
    refuse_if(at_ < in_.size() && (in_[at_] == '?' || in_[at_] == '+'), "a suffix to an interval");
  } else if (take("*") || take("+") || take("?")) {
    out_ += in_[at_ - 1];
    if (take("?") || take("+")) {  // lazy, possessive
      out_ += in_[at_ - 1];
    }
  } else {
    return;
  }
  previous_letter_ = 0;
  refuse_if(at_ < in_.size() && (in_[at_] == '*' || in_[at_] == '+' || in_[at_] == '?' || interval()), "a repeated quantifier");
}

std::string pcre2_pattern(std::string_view onig, const std::string& where) { return PatternTranslator(onig, where).run(); }

}  // namespace unmask::runtime::tokenizer
