// SPDX-License-Identifier: Apache-2.0
#include "launcher/view/live_view.h"

#include <algorithm>

namespace unmask::launcher {
namespace {

constexpr double kFrameSeconds = 0.03;  ///< faster than that, nobody sees it

}  // namespace

LiveView::LiveView(const Output& output, DraftBoard::Decode decode, Options options)
    : output_(output), options_(options), board_(std::move(decode)), painter_(options.cursor) {}

LiveView::~LiveView() {
  try {
    close();
  } catch (const Error&) {
    // The terminal is gone; whoever wrote to it before has been told.
  }
}

std::string LiveView::status() const {
  const double seconds = std::max(since_start_.seconds(), 1e-3);
  const std::string rate = format("{:.1f} tokens/s", static_cast<double>(board_.num_unmasked()) / seconds);
  return options_.num_answers == 1 ? format("pass {}, {}", board_.passes(), rate)
                                   : format("pass {}, {} of {} answers, {}", board_.passes(), printed_, options_.num_answers, rate);
}

std::vector<std::string> LiveView::frame(TerminalSize terminal) const {
  const int width = std::max(terminal.columns - 1, 1);  // a full last column would make the terminal wrap by itself
  const int room = std::max(terminal.rows - 2, 1);
  const auto numbers = board_.begun();
  const auto shown = std::min<std::size_t>(numbers.size(), static_cast<std::size_t>(room));
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < shown; ++i) {
    const int left = room - static_cast<int>(lines.size());
    const int share = std::max(left / static_cast<int>(shown - i), 1);
    std::vector<Piece> pieces = board_.pieces(numbers[i]);
    if (options_.num_answers > 1) {
      pieces.insert(pieces.begin(), {.text = format("{}> ", numbers[i] + 1)});
    }
    const auto laid_out = lay_out(pieces, width, options_.colour);
    for (const ScreenLine& line : visible_part(laid_out, share)) {
      lines.push_back(line.text);
    }
  }
  lines.push_back(status().substr(0, static_cast<std::size_t>(width)));
  return lines;
}

void LiveView::refresh() {
  if (since_frame_ && since_frame_->seconds() < kFrameSeconds) {
    return;
  }
  since_frame_.emplace();
  if (!drawing_) {
    drawing_.emplace();
  }
  output_.write(painter_.paint(frame(terminal_size())));
}

void LiveView::print(std::int64_t number, std::string_view text) {
  board_.remove(number);
  ++printed_;
  std::string out = painter_.clear();
  for (const ScreenLine& line : lay_out(std::vector<Piece>{{.text = std::string(text)}}, 1 << 30, Colour::kOff)) {
    out += line.text + "\n";
  }
  output_.write(out);
  since_frame_.reset();
}

void LiveView::close() {
  if (drawing_) {
    output_.write(painter_.close());
    drawing_.reset();
  }
}

}  // namespace unmask::launcher
