// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace unmask::runtime::tokenizer {

/// GPT-2's one-to-one map of the 256 byte values to printable characters: a printable Latin-1 byte stands for itself, the
/// others follow from U+0100 on, in order. Space becomes U+0120.
void append_byte_characters(std::string& out, std::string_view bytes);

/// The way back for one token. A token with a character that stands for no byte is taken as it is, whole.
std::string token_bytes(std::string_view token);

}  // namespace unmask::runtime::tokenizer
