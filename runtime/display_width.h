// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace unmask::runtime {

/// One character as a terminal may safely be given it.
struct Glyph {
  std::string text;  ///< the character, or \x1b, \u202e for one that would steer the terminal or cannot be seen
  int width = 0;     ///< columns: 0 for combining marks, 2 for wide characters
  bool line_break = false;
};

/// UTF-8 text as glyphs: control, format (but for the joiner of emoji), private and unassigned characters are escaped,
/// invalid bytes become U+FFFD, a tab four blanks.
std::vector<Glyph> glyphs_of(std::string_view text);

}  // namespace unmask::runtime
