// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/utf8.h"

#include <utf8proc.h>

#include <cstdint>

#include "base/format.h"

namespace unmask::runtime::tokenizer {

namespace {

struct Lead {
  std::size_t length;
  unsigned char second_low;  ///< range of the second byte: excludes overlong forms, surrogates and beyond U+10FFFF
  unsigned char second_high;
};

std::optional<Lead> lead_of(unsigned char byte) {
  if (byte >= 0xC2 && byte <= 0xDF) {
    return Lead{2, 0x80, 0xBF};
  }
  if (byte >= 0xE0 && byte <= 0xEF) {
    return Lead{3, static_cast<unsigned char>(byte == 0xE0 ? 0xA0 : 0x80), static_cast<unsigned char>(byte == 0xED ? 0x9F : 0xBF)};
  }
  if (byte >= 0xF0 && byte <= 0xF4) {
    return Lead{4, static_cast<unsigned char>(byte == 0xF0 ? 0x90 : 0x80), static_cast<unsigned char>(byte == 0xF4 ? 0x8F : 0xBF)};
  }
  return std::nullopt;
}

}  // namespace

Utf8Head utf8_head(std::string_view bytes) {
  const auto first = static_cast<unsigned char>(bytes[0]);
  if (first < 0x80) {
    return {Utf8Head::Kind::kCharacter, 1, first};
  }
  const std::optional<Lead> lead = lead_of(first);
  if (!lead) {
    return {Utf8Head::Kind::kInvalid, 1, 0};
  }
  auto character = static_cast<char32_t>(first & (0x7FU >> lead->length));
  for (std::size_t i = 1; i < lead->length; ++i) {
    if (i == bytes.size()) {
      return {Utf8Head::Kind::kIncomplete, i, 0};
    }
    const auto byte = static_cast<unsigned char>(bytes[i]);
    const bool fits = i == 1 ? byte >= lead->second_low && byte <= lead->second_high : (byte & 0xC0U) == 0x80U;
    if (!fits) {
      return {Utf8Head::Kind::kInvalid, i, 0};
    }
    character = (character << 6) | (byte & 0x3FU);
  }
  return {Utf8Head::Kind::kCharacter, lead->length, character};
}

std::optional<std::size_t> first_invalid_utf8(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const Utf8Head head = utf8_head(bytes.substr(at));
    if (head.kind != Utf8Head::Kind::kCharacter) {
      return at;
    }
    at += head.length;
  }
  return std::nullopt;
}

std::size_t incomplete_tail_bytes(std::string_view bytes) {
  for (std::size_t tail = 1; tail <= 3 && tail <= bytes.size(); ++tail) {
    const std::string_view end = bytes.substr(bytes.size() - tail);
    if ((static_cast<unsigned char>(end[0]) & 0xC0U) != 0x80U) {
      return utf8_head(end).kind == Utf8Head::Kind::kIncomplete ? tail : 0;
    }
  }
  return 0;
}

void append_lossy(std::string& out, std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const Utf8Head head = utf8_head(bytes.substr(at));
    if (head.kind == Utf8Head::Kind::kCharacter) {
      out.append(bytes, at, head.length);
    } else {
      out += "\xEF\xBF\xBD";
    }
    at += head.length;
  }
}

void append_utf8(std::string& out, char32_t character) {
  const auto part = [&](char32_t bits) { out.push_back(static_cast<char>(static_cast<unsigned char>(bits))); };
  if (character < 0x80) {
    part(character);
  } else if (character < 0x800) {
    part(0xC0U | (character >> 6));
    part(0x80U | (character & 0x3FU));
  } else if (character < 0x10000) {
    part(0xE0U | (character >> 12));
    part(0x80U | ((character >> 6) & 0x3FU));
    part(0x80U | (character & 0x3FU));
  } else {
    part(0xF0U | (character >> 18));
    part(0x80U | ((character >> 12) & 0x3FU));
    part(0x80U | ((character >> 6) & 0x3FU));
    part(0x80U | (character & 0x3FU));
  }
}

std::size_t previous_character(std::string_view text, std::size_t end) {
  do {
    --end;
  } while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U);
  return end;
}

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_word_character(char32_t c) {
  const std::string_view category = utf8proc_category_string(static_cast<utf8proc_int32_t>(c));
  if (category[0] == 'L' || category[0] == 'M' || category == "Nd" || category == "Nl" || category == "Pc") {
    return true;
  }
  // The joiners, and the symbols that are alphabetic all the same (Other_Alphabetic).
  return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

std::string shown(std::string_view text) {
  constexpr std::size_t kMaxShownBytes = 80;
  std::string out = "\"";
  for (const char c : text.substr(0, kMaxShownBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      out += format("\\x{:02x}", byte);
    } else {
      out.push_back(c);
    }
  }
  out += text.size() > kMaxShownBytes ? "\"..." : "\"";
  return out;
}

}  // namespace unmask::runtime::tokenizer
