// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"
#include "runtime/checkpoint.h"

namespace unmask::launcher {

/// How far loading has come, on standard error: rewritten in place on a terminal, else a line each five seconds. Says nothing
/// of short loads, nor where the log is off.
class LoadProgressLine {
 public:
  /// `what` is done: "loading", "packing".
  explicit LoadProgressLine(const Logger& log, std::string_view what = "loading");
  void show(const runtime::LoadProgress& now);
  void close();

 private:
  const Logger& log_;
  std::string_view what_;
  bool in_place_;
  bool drawn_ = false;
  std::optional<Stopwatch> since_shown_;
};

}  // namespace unmask::launcher
