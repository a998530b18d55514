// SPDX-License-Identifier: Apache-2.0
#include "launcher/run/load_progress.h"

#include <unistd.h>

#include <algorithm>

namespace unmask::launcher {
namespace {

constexpr double kLineSeconds = 5;
constexpr double kRedrawSeconds = 0.2;
constexpr double kShortLoadSeconds = 1;

}  // namespace

LoadProgressLine::LoadProgressLine(const Logger& log, std::string_view what) : log_(log), what_(what), in_place_(::isatty(STDERR_FILENO) == 1) {}

void LoadProgressLine::show(const runtime::LoadProgress& now) {
  const double pause = in_place_ ? kRedrawSeconds : kLineSeconds;
  const bool is_due = since_shown_ ? since_shown_->seconds() >= pause : now.seconds >= (in_place_ ? kShortLoadSeconds : kLineSeconds);
  if (!is_due || !log_.wants(LogLevel::kInfo)) {
    return;
  }
  since_shown_.emplace();
  const double share = 100.0 * static_cast<double>(now.bytes_read) / static_cast<double>(std::max<std::uint64_t>(now.bytes_total, 1));
  const std::string text = format("{}: {} of {} bytes ({:.0f} %), {:.2f} GB/s", what_, now.bytes_read, now.bytes_total, share,
                                  static_cast<double>(now.bytes_read) / std::max(now.seconds, 1e-3) / 1e9);
  if (!in_place_) {
    log_.info("{}", text);
    return;
  }
  const std::string line = "\r" + text + "\x1b[K";
  drawn_ = ::write(STDERR_FILENO, line.data(), line.size()) > 0;
}

void LoadProgressLine::close() {
  if (drawn_) {
    drawn_ = false;
    [[maybe_unused]] const auto n = ::write(STDERR_FILENO, "\r\x1b[K", 4);
  }
}

}  // namespace unmask::launcher
