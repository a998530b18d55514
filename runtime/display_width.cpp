// SPDX-License-Identifier: Apache-2.0
#include "runtime/display_width.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "base/format.h"

namespace unmask::runtime {
namespace {

constexpr utf8proc_int32_t kJoiner = 0x200D;

/// Not steering, not invisible, and known to this version of Unicode.
bool is_visible(utf8proc_int32_t c) {
  constexpr std::array kHidden = {UTF8PROC_CATEGORY_CC, UTF8PROC_CATEGORY_CF, UTF8PROC_CATEGORY_CS, UTF8PROC_CATEGORY_CO,
                                  UTF8PROC_CATEGORY_CN, UTF8PROC_CATEGORY_ZL, UTF8PROC_CATEGORY_ZP};
  return c == kJoiner || std::ranges::count(kHidden, utf8proc_category(c)) == 0;
}

Glyph escaped(utf8proc_int32_t c) {
  std::string text = c < 0x100 ? format("\\x{:02x}", c) : format("\\u{:04x}", c);
  const int width = static_cast<int>(text.size());
  return {.text = std::move(text), .width = width};
}

}  // namespace

std::vector<Glyph> glyphs_of(std::string_view text) {
  std::vector<Glyph> out;
  while (!text.empty()) {
    utf8proc_int32_t c = 0;
    const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
    const auto length = utf8proc_iterate(at, static_cast<utf8proc_ssize_t>(text.size()), &c);
    if (length <= 0) {
      out.push_back({.text = "\xEF\xBF\xBD", .width = 1});
      text.remove_prefix(1);
      continue;
    }
    if (c == '\n') {
      out.push_back({.text = {}, .width = 0, .line_break = true});
    } else if (c == '\t') {
      out.push_back({.text = "    ", .width = 4});
    } else if (is_visible(c)) {
      out.push_back({.text = std::string(text.substr(0, static_cast<std::size_t>(length))), .width = utf8proc_charwidth(c)});
    } else {
      out.push_back(escaped(c));
    }
    text.remove_prefix(static_cast<std::size_t>(length));
  }
  return out;
}

}  // namespace unmask::runtime
