// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>

namespace unmask::launcher {

enum class Cursor {
  kHide,   ///< while frames are drawn
  kLeave,  ///< nobody could be sure to bring it back
};

/// Control sequences that draw a few lines over and over at the same place of a terminal. Each call's result is to be
/// written at once, so that nobody sees half a frame.
class FramePainter {
 public:
  explicit FramePainter(Cursor cursor = Cursor::kHide) : cursor_(cursor) {}

  /// Replaces the last frame. Lines must be narrower than the terminal, and fewer than its rows.
  std::string paint(std::span<const std::string> lines);
  /// Removes the frame: what is written next begins where the frame began.
  std::string clear();
  /// Removes the frame and gives the cursor back.
  std::string close();

 private:
  std::string to_top() const;

  Cursor cursor_;
  std::size_t height_ = 0;
  bool cursor_hidden_ = false;
};

}  // namespace unmask::launcher
