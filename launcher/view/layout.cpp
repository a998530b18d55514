// SPDX-License-Identifier: Apache-2.0
#include "launcher/view/layout.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "runtime/display_width.h"

namespace unmask::launcher {
namespace {

std::string_view colour_of(Piece::Style style) {
  switch (style) {
    case Piece::Style::kFresh:
      return "\x1b[1;32m";
    case Piece::Style::kMasked:
      return "\x1b[2m";
    case Piece::Style::kSettled:
      break;
  }
  return "";
}

class Lines {
 public:
  Lines(int width, Colour colour) : width_(std::max(width, 8)), colour_(colour) {}

  void add(const runtime::Glyph& glyph, Piece::Style style) {
    if (glyph.line_break) {
      end_line();
      return;
    }
    if (column_ + glyph.width > width_) {
      end_line();
    }
    if (colour_ == Colour::kOn && style != style_) {
      reset();
      line_.text += colour_of(style);
      style_ = style;
    }
    line_.text += glyph.text;
    line_.has_fresh |= style == Piece::Style::kFresh;
    column_ += glyph.width;
  }

  std::vector<ScreenLine> take() {
    end_line();
    return std::move(lines_);
  }

 private:
  void reset() {
    if (style_ != Piece::Style::kSettled) {
      line_.text += "\x1b[0m";
      style_ = Piece::Style::kSettled;
    }
  }
  void end_line() {
    reset();
    lines_.push_back(std::exchange(line_, {}));
    column_ = 0;
  }

  int width_;
  Colour colour_;
  Piece::Style style_ = Piece::Style::kSettled;
  int column_ = 0;
  ScreenLine line_;
  std::vector<ScreenLine> lines_;
};

}  // namespace

std::vector<ScreenLine> lay_out(std::span<const Piece> pieces, int width, Colour colour) {
  Lines lines(width, colour);
  for (const Piece& piece : pieces) {
    for (const runtime::Glyph& glyph : runtime::glyphs_of(piece.text)) {
      lines.add(glyph, piece.style);
    }
  }
  return lines.take();
}

std::span<const ScreenLine> visible_part(std::span<const ScreenLine> lines, int height) {
  const auto rows = static_cast<std::size_t>(std::max(height, 1));
  if (lines.size() <= rows) {
    return lines;
  }
  std::size_t end = rows;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].has_fresh) {
      end = std::max(end, i + 1);
    }
  }
  return lines.subspan(end - rows, rows);
}

}  // namespace unmask::launcher
