// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

namespace unmask::launcher {

enum class Colour { kOff, kOn };

/// A stretch of a draft.
struct Piece {
  enum class Style { kSettled, kFresh, kMasked };  ///< kFresh: unmasked by the last step
  std::string text;
  Style style = Style::kSettled;
};

struct ScreenLine {
  std::string text;        ///< with colours, reset at the end
  bool has_fresh = false;
};

/// Breaks pieces into lines of at most `width` columns. Characters that could steer the terminal are shown escaped.
std::vector<ScreenLine> lay_out(std::span<const Piece> pieces, int width, Colour colour);

/// At most `height` of these lines: the last ones up to where the latest change is seen.
std::span<const ScreenLine> visible_part(std::span<const ScreenLine> lines, int height);

}  // namespace unmask::launcher
