// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "launcher/io/output.h"
#include "launcher/view/draft_board.h"
#include "launcher/view/frame_painter.h"
#include "launcher/view/terminal.h"

namespace unmask::launcher {

/// Draws the answers in the making below those that are finished:
///
///   a finished answer, as plain output prints it
///   2> the next one, ░░░ of it ░░ masked          (no "2>" where there is a single answer)
///   pass 17, 3 of 5 answers, 41 tokens/s
class LiveView {
 public:
  struct Options {
    std::int64_t num_answers = 1;
    Colour colour = Colour::kOn;
    Cursor cursor = Cursor::kHide;
  };
  LiveView(const Output& output, DraftBoard::Decode decode, Options options);
  ~LiveView();
  LiveView(const LiveView&) = delete;
  LiveView& operator=(const LiveView&) = delete;

  DraftBoard& board() { return board_; }

  /// Draws the board, unless it was drawn a moment ago.
  void refresh();
  /// Puts a finished answer above the board for good, and takes it off the board.
  void print(std::int64_t number, std::string_view text);
  /// Takes the board away and gives the cursor back.
  void close();

  /// The lines of the current board.
  std::vector<std::string> frame(TerminalSize terminal) const;

 private:
  std::string status() const;

  const Output& output_;
  Options options_;
  DraftBoard board_;
  FramePainter painter_;
  Stopwatch since_start_;
  std::optional<Stopwatch> since_frame_;
  std::int64_t printed_ = 0;
  std::optional<DrawingScope> drawing_;
};

}  // namespace unmask::launcher
