// SPDX-License-Identifier: Apache-2.0
// Oniguruma's Ruby syntax to PCRE2: where both read a construct alike it is passed on, where they differ it is spelled
// out, and the rest is refused.
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "runtime/tokenizer/regex.h"
#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime::tokenizer {

namespace {

using namespace std::string_view_literals;

// White_Space, spelled out: PCRE2's \s adds U+180E.
constexpr auto kSpaces = R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})"sv;
constexpr auto kNotSpaces =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})"sv;
// Oniguruma's \w takes all numbers and marks; PCRE2's has no marks.
constexpr auto kWord = R"(\p{L}\p{M}\p{N}\p{Pc})"sv;

constexpr std::array kProperties = {
    "L"sv,  "Lu"sv, "Ll"sv, "Lt"sv, "Lm"sv, "Lo"sv, "M"sv,  "Mn"sv, "Mc"sv, "Me"sv, "N"sv,  "Nd"sv, "Nl"sv,       "No"sv,
    "P"sv,  "Pc"sv, "Pd"sv, "Ps"sv, "Pe"sv, "Pi"sv, "Pf"sv, "Po"sv, "S"sv,  "Sm"sv, "Sc"sv, "Sk"sv, "So"sv,       "Z"sv,
    "Zs"sv, "Zl"sv, "Zp"sv, "C"sv,  "Cc"sv, "Cf"sv, "Co"sv, "Cn"sv, "Han"sv, "Hiragana"sv, "Katakana"sv, "Hangul"sv,
    "Latin"sv, "Greek"sv, "Cyrillic"sv, "Arabic"sv, "Hebrew"sv, "Thai"sv, "Devanagari"sv};

// Two letters that Oniguruma, ignoring case, also finds in one ligature or in sharp s.
constexpr std::array kFoldingPairs = {"ss"sv, "ff"sv, "fi"sv, "fl"sv, "st"sv};

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : in_(pattern), where_(where) {}

  std::string run() {
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

 private:
  enum class Case { kMatters, kIgnored };
  enum class Place { kOutside, kInClass };

  void refuse_if(bool wrong, std::string_view what) const {
    require(!wrong, ExitCode::kBadInput, "{}: the pattern {} has {} at byte {}, which is not supported", where_, shown(in_), what, at_);
  }
  bool take(std::string_view token) {
    if (!in_.substr(at_).starts_with(token)) {
      return false;
    }
    at_ += token.size();
    return true;
  }
  char32_t next_character() {
    refuse_if(at_ == in_.size(), "an unfinished construct");
    const Utf8Head head = utf8_head(in_.substr(at_));
    refuse_if(head.kind != Utf8Head::Kind::kCharacter, "invalid UTF-8");
    at_ += head.length;
    return head.character;
  }

  /// Translates one construct; true if a quantifier may follow it.
  bool step() {
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

  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

  void literal(char32_t c, Place place) {
    if (case_.back() == Case::kIgnored) {
      refuse_if(c >= 0x80, "a character beyond ASCII where case is ignored");
      if (place == Place::kOutside) {
        const char lower = static_cast<char>(c < 0x80 && is_letter(static_cast<char>(c)) ? (c | 0x20U) : 0);
        const std::array pair = {previous_letter_, lower};
        refuse_if(std::find(kFoldingPairs.begin(), kFoldingPairs.end(), std::string_view(pair.data(), 2)) != kFoldingPairs.end(),
                  "letters that stand for a ligature too where case is ignored");
        previous_letter_ = lower;
      }
    }
    hex(c);
  }
  void hex(char32_t c) { out_ += format("\\x{{{:x}}}", static_cast<std::uint32_t>(c)); }

  void open_group() {
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

  void character_class() {
    out_ += '[';
    if (take("^")) {
      out_ += '^';
    }
    refuse_if(at_ < in_.size() && in_[at_] == ']', "a class that begins with ]");
    while (!take("]")) {
      refuse_if(at_ == in_.size(), "an unclosed class");
      refuse_if(in_[at_] == '[', "a class within a class");
      refuse_if(in_.substr(at_).starts_with("&&"), "an intersection of classes");
      if (take("\\")) {
        escape(Place::kInClass);
      } else if (take("-")) {
        out_ += '-';
      } else {
        literal(next_character(), Place::kInClass);
      }
    }
    out_ += ']';
  }

  /// What follows a backslash; true if a quantifier may follow.
  bool escape(Place place) {
    const bool in_class = place == Place::kInClass;
    const auto set = [&](std::string_view members) { out_ += in_class ? std::string(members) : format("[{}]", members); };
    const char32_t c = next_character();
    switch (c) {
      case 'r': hex('\r'); return true;
      case 'n': hex('\n'); return true;
      case 't': hex('\t'); return true;
      case 'f': hex('\f'); return true;
      case 'v': hex('\v'); return true;
      case 'a': hex('\a'); return true;
      case 'e': hex(0x1B); return true;
      case 's': set(kSpaces); return true;
      case 'S': set(kNotSpaces); return true;
      case 'd': out_ += "\\p{Nd}"; return true;
      case 'D': out_ += "\\P{Nd}"; return true;
      case 'w': set(kWord); return true;
      case 'W':
        refuse_if(in_class, "\\W within a class");
        out_ += format("[^{}]", kWord);
        return true;
      case 'p':
      case 'P': property(c == 'P'); return true;
      case 'x': literal(code_after_x(), place); return true;
      case 'u': literal(digits(4), place); return true;
      case 'A':
      case 'z':
        refuse_if(in_class, "an anchor within a class");
        out_ += c == 'A' ? "\\A" : "\\z";
        return false;
      default:
        refuse_if(c < 0x80 && (is_letter(static_cast<char>(c)) || (c >= '0' && c <= '9')), "this escape");
        literal(c, place);
        return true;
    }
  }

  void property(bool negated) {
    refuse_if(case_.back() == Case::kIgnored, "a character property where case is ignored");
    refuse_if(!take("{"), "a property without braces");
    const bool caret = take("^");
    const std::size_t end = std::min(in_.find('}', at_), in_.size());
    const std::string_view name = in_.substr(at_, end - at_);
    refuse_if(end == in_.size() || std::find(kProperties.begin(), kProperties.end(), name) == kProperties.end(), "this character property");
    at_ = end + 1;
    out_ += format("\\{}{{{}}}", negated != caret ? 'P' : 'p', name);
  }

  char32_t code_after_x() {
    if (!take("{")) {
      const char32_t byte = digits(2);
      refuse_if(byte >= 0x80, "a single byte of a longer character");
      return byte;
    }
    const std::size_t end = std::min(in_.find('}', at_), in_.size());
    refuse_if(end == at_ || end - at_ > 6 || end == in_.size(), "this character number");
    const char32_t code = digits(end - at_);
    at_ = end + 1;
    return code;
  }
  char32_t digits(std::size_t count) {
    char32_t code = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const char32_t c = next_character();
      const bool decimal = c >= '0' && c <= '9';
      const char32_t lower = c | 0x20U;
      refuse_if(!decimal && (lower < 'a' || lower > 'f'), "a digit that is not hexadecimal");
      code = code * 16 + (decimal ? c - '0' : lower - 'a' + 10);
    }
    refuse_if(code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF), "a number of no character");
    return code;
  }

  /// {n}, {n,} or {n,m} at this place, as written.
  std::optional<std::string_view> interval() const {
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

  void quantifier() {
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

  std::string_view in_;
  const std::string& where_;
  std::string out_;
  std::size_t at_ = 0;
  std::vector<Case> case_ = {Case::kMatters};  ///< of the open groups
  char previous_letter_ = 0;                   ///< lower case; where case is ignored
};

}  // namespace

std::string pcre2_pattern(std::string_view onig, const std::string& where) { return Translator(onig, where).run(); }

}  // namespace unmask::runtime::tokenizer
