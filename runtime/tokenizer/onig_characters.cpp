// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "base/error.h"
#include "runtime/tokenizer/onig_translator.h"
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

}  // namespace

char32_t PatternTranslator::next_character() {
  refuse_if(at_ == in_.size(), "an unfinished construct");
  const Utf8Head head = utf8_head(in_.substr(at_));
  refuse_if(head.kind != Utf8Head::Kind::kCharacter, "invalid UTF-8");
  at_ += head.length;
  return head.character;
}

void PatternTranslator::literal(char32_t c, Place place) {
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

void PatternTranslator::character_class() {
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

bool PatternTranslator::escape(Place place) {
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
    case 'P': property(c); return true;
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

void PatternTranslator::property(char32_t letter) {
  refuse_if(case_.back() == Case::kIgnored, "a character property where case is ignored");
  refuse_if(!take("{"), "a property without braces");
  const bool caret = take("^");
  const std::size_t end = std::min(in_.find('}', at_), in_.size());
  const std::string_view name = in_.substr(at_, end - at_);
  refuse_if(end == in_.size() || std::find(kProperties.begin(), kProperties.end(), name) == kProperties.end(), "this character property");
  at_ = end + 1;
  out_ += format("\\{}{{{}}}", (letter == 'P') != caret ? 'P' : 'p', name);
}

char32_t PatternTranslator::code_after_x() {
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

char32_t PatternTranslator::digits(std::size_t count) {
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

}  // namespace unmask::runtime::tokenizer
