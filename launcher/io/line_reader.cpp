// SPDX-License-Identifier: Apache-2.0
#include "launcher/io/line_reader.h"

#include <utility>

namespace unmask::launcher {

bool LineReader::fill() {
  constexpr std::size_t kChunk = std::size_t{1} << 16;
  buffer_.erase(0, begin_);
  begin_ = 0;
  const std::size_t old = buffer_.size();
  buffer_.resize(old + kChunk);
  std::size_t n = 0;
  try {
    n = source_.read(std::span(buffer_).subspan(old));
  } catch (...) {
    buffer_.resize(old);
    throw;
  }
  buffer_.resize(old + n);
  at_end_ = n == 0;
  return n > 0;
}

std::optional<LineReader::Line> LineReader::next() {
  Line line{.number = ++number_, .text = {}};
  std::size_t searched = begin_;
  for (;;) {
    if (const std::size_t end = buffer_.find('\n', searched); end != std::string::npos) {
      if (!line.too_long) {
        line.text = buffer_.substr(begin_, end - begin_);
      }
      begin_ = end + 1;
      return line;
    }
    if (buffer_.size() - begin_ > kLongestLine) {
      line.too_long = true;
    }
    if (line.too_long) {
      begin_ = buffer_.size();
    }
    const std::size_t rest = buffer_.size() - begin_;
    if (at_end_ || !fill()) {
      if (rest == 0 && !line.too_long) {
        return std::nullopt;
      }
      line.text = line.too_long ? "" : std::exchange(buffer_, {});
      begin_ = 0;
      buffer_.clear();
      return line;
    }
    searched = rest;
  }
}

}  // namespace unmask::launcher
