// SPDX-License-Identifier: Apache-2.0
#include "launcher/view/frame_painter.h"

#include <utility>

#include "base/format.h"

namespace unmask::launcher {

std::string FramePainter::to_top() const { return height_ > 0 ? format("\x1b[{}A\r", height_) : "\r"; }

std::string FramePainter::paint(std::span<const std::string> lines) {
  std::string out = cursor_ == Cursor::kLeave || std::exchange(cursor_hidden_, true) ? "" : "\x1b[?25l";
  out += to_top();
  for (const std::string& line : lines) {
    out += line;
    out += "\x1b[K\n";
  }
  if (lines.size() < height_) {
    out += "\x1b[J";
  }
  height_ = lines.size();
  return out;
}

std::string FramePainter::clear() {
  std::string out = to_top() + "\x1b[J";
  height_ = 0;
  return out;
}

std::string FramePainter::close() {
  std::string out;
  if (height_ > 0) {
    out = clear();
  }
  return std::exchange(cursor_hidden_, false) ? out + "\x1b[0m\x1b[?25h" : out;
}

}  // namespace unmask::launcher
