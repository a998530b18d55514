// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace unmask::runtime::tokenizer {

/// What stands at the head of a byte string.
struct Utf8Head {
  enum class Kind {
    kCharacter,
    kInvalid,     ///< bytes that no continuation can make valid: one U+FFFD stands for `length` of them
    kIncomplete,  ///< the string ends inside a character
  };
  Kind kind = Kind::kInvalid;
  std::size_t length = 1;  ///< bytes; of an invalid head, the maximal subpart (Unicode 15, section 3.9, table 3-8)
  char32_t character = 0;  ///< for kCharacter
};

/// `bytes` is not empty.
Utf8Head utf8_head(std::string_view bytes);

/// Offset of the first byte that is not part of a valid character.
std::optional<std::size_t> first_invalid_utf8(std::string_view bytes);

/// Bytes at the end that begin a character which later bytes may still complete (0 to 3).
std::size_t incomplete_tail_bytes(std::string_view bytes);

/// Appends `bytes`, U+FFFD in place of every maximal invalid part.
void append_lossy(std::string& out, std::string_view bytes);

void append_utf8(std::string& out, char32_t character);

/// Start of the character that ends right before `end`; `text` is valid UTF-8 and end > 0.
std::size_t previous_character(std::string_view text, std::size_t end);

/// Unicode's White_Space property.
bool is_white_space(char32_t character);

/// A word character as in \w of UTS 18, annex C: alphabetic, mark, decimal digit, connector, joiner.
bool is_word_character(char32_t character);

/// A token or name as an error message shows it: quoted, shortened, control bytes escaped.
std::string shown(std::string_view text);

}  // namespace unmask::runtime::tokenizer
