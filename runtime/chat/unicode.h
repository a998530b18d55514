// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "runtime/tokenizer/utf8.h"

// Unicode as Python's str sees it; every text here is valid UTF-8 unless a function says otherwise. Properties are
// utf8proc's: characters newer than its Unicode version (or than Python's) may differ.
namespace unmask::runtime::chat {

using tokenizer::append_utf8;
using tokenizer::first_invalid_utf8;

struct CodePoint {
  char32_t value;
  std::size_t bytes;
};
CodePoint code_point_at(std::string_view text, std::size_t at);
CodePoint code_point_before(std::string_view text, std::size_t end);  ///< end > 0

std::size_t num_code_points(std::string_view text);
/// Byte offset of the code point number `index`; the text's size if there are fewer.
std::size_t offset_of(std::string_view text, std::size_t index);

bool is_space(char32_t c);      ///< str.isspace, and \s of re
bool is_printable(char32_t c);  ///< str.isprintable: what repr leaves as it is
bool is_line_break(char32_t c);  ///< where str.splitlines splits

enum class Case { kLower, kUpper, kTitle };
struct CaseMapping {
  std::array<char32_t, 3> points{};
  std::size_t count = 0;
};
/// Full mapping of one character without context.
CaseMapping map_case(char32_t c, Case target);
bool is_cased(char32_t c);
/// Whether the capital sigma at `at` is the last letter of its word (its lower case is then another).
bool is_final_sigma(std::string_view text, std::size_t at);

inline constexpr char32_t kCapitalSigma = 0x3A3;
inline constexpr char32_t kFinalSigma = 0x3C2;

}  // namespace unmask::runtime::chat
