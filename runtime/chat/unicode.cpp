// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/unicode.h"

#include <algorithm>
#include <iterator>

#include <utf8proc.h>

#include "runtime/chat/case_tables.h"

namespace unmask::runtime::chat {
namespace {

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

std::size_t sequence_length(char lead) {
  const auto c = static_cast<unsigned char>(lead);
  return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

template <std::size_t N>
bool is_in(const CodePointRange (&ranges)[N], char32_t c) {
  const auto* after = std::upper_bound(std::begin(ranges), std::end(ranges), c,
                                       [](char32_t value, const CodePointRange& range) { return value < range.first; });
  return after != std::begin(ranges) && c <= std::prev(after)->last;
}

bool is_case_ignorable(char32_t c) {
  const utf8proc_category_t k = category(c);
  return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_LM ||
         k == UTF8PROC_CATEGORY_SK || is_in(kOtherIgnorable, c);
}

}  // namespace

CodePoint code_point_at(std::string_view text, std::size_t at) {
  const std::size_t bytes = sequence_length(text[at]);
  if (bytes == 1) {
    return {static_cast<unsigned char>(text[at]), 1};
  }
  char32_t value = static_cast<unsigned char>(text[at]) & (0x7FU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    value = (value << 6) | (static_cast<unsigned char>(text[at + i]) & 0x3FU);
  }
  return {value, bytes};
}

CodePoint code_point_before(std::string_view text, std::size_t end) {
  std::size_t begin = end - 1;
  while (begin > 0 && is_continuation(text[begin])) {
    --begin;
  }
  return code_point_at(text, begin);
}

std::size_t num_code_points(std::string_view text) {
  return text.size() - static_cast<std::size_t>(std::count_if(text.begin(), text.end(), is_continuation));
}

std::size_t offset_of(std::string_view text, std::size_t index) {
  std::size_t at = 0;
  for (; index > 0 && at < text.size(); --index) {
    at += sequence_length(text[at]);
  }
  return at;
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_line_break(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_printable(char32_t c) {
  if (c < 0x7F) {
    return c >= 0x20;
  }
  const utf8proc_category_t k = category(c);
  return !(k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CS || k == UTF8PROC_CATEGORY_CO ||
           k == UTF8PROC_CATEGORY_CN || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP || k == UTF8PROC_CATEGORY_ZS);
}

CaseMapping map_case(char32_t c, Case target) {
  const auto* special = std::lower_bound(std::begin(kSpecialCases), std::end(kSpecialCases), c,
                                         [](const SpecialCase& row, char32_t value) { return row.from < value; });
  for (; c >= 0x80 && special != std::end(kSpecialCases) && special->from == c; ++special) {
    if (special->target == target) {
      return {special->to, special->to[2] != 0 ? std::size_t{3} : std::size_t{2}};
    }
  }
  const auto point = static_cast<utf8proc_int32_t>(c);
  const utf8proc_int32_t mapped = target == Case::kLower   ? utf8proc_tolower(point)
                                  : target == Case::kUpper ? utf8proc_toupper(point)
                                                           : utf8proc_totitle(point);
  return {{static_cast<char32_t>(mapped)}, 1};
}

bool is_cased(char32_t c) {
  const utf8proc_category_t k = category(c);
  return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT || is_in(kOtherCased, c);
}

bool is_final_sigma(std::string_view text, std::size_t at) {
  std::size_t before = at;
  bool after_cased = false;
  while (before > 0) {
    const CodePoint c = code_point_before(text, before);
    before -= c.bytes;
    if (!is_case_ignorable(c.value)) {
      after_cased = is_cased(c.value);
      break;
    }
  }
  if (!after_cased) {
    return false;
  }
  for (std::size_t next = at + 2; next < text.size();) {  // a capital sigma has two bytes
    const CodePoint c = code_point_at(text, next);
    next += c.bytes;
    if (!is_case_ignorable(c.value)) {
      return !is_cased(c.value);
    }
  }
  return true;
}

}  // namespace unmask::runtime::chat
