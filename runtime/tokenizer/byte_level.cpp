// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/byte_level.h"

#include <array>
#include <cstdint>

#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime::tokenizer {

namespace {

constexpr char32_t kNumCharacters = 0x144;  // one above the highest character of the map

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Map {
  std::array<std::array<char, 2>, 256> utf8{};
  std::array<std::uint8_t, 256> utf8_bytes{};
  std::array<std::int16_t, kNumCharacters> byte_of{};  ///< -1: none

  constexpr Map() {
    byte_of.fill(-1);
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const unsigned character = stands_for_itself(byte) ? byte : next++;
      byte_of[character] = static_cast<std::int16_t>(byte);
      if (character < 0x80) {
        utf8[byte] = {static_cast<char>(character), 0};
        utf8_bytes[byte] = 1;
      } else {
        utf8[byte] = {static_cast<char>(0xC0U | (character >> 6)), static_cast<char>(0x80U | (character & 0x3FU))};
        utf8_bytes[byte] = 2;
      }
    }
  }
};

constexpr Map kMap;

}  // namespace

void append_byte_characters(std::string& out, std::string_view bytes) {
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out.append(kMap.utf8[byte].data(), kMap.utf8_bytes[byte]);
  }
}

std::string token_bytes(std::string_view token) {
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const Utf8Head head = utf8_head(token.substr(at));
    if (head.character >= kNumCharacters || kMap.byte_of[head.character] < 0) {
      return std::string(token);
    }
    bytes.push_back(static_cast<char>(kMap.byte_of[head.character]));
    at += head.length;
  }
  return bytes;
}

}  // namespace unmask::runtime::tokenizer
