// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace unmask {

/// Monotonic time since construction.
class Stopwatch {
 public:
  using Clock = std::chrono::steady_clock;
  std::chrono::duration<double> elapsed() const { return Clock::now() - start_; }
  double seconds() const { return elapsed().count(); }

 private:
  Clock::time_point start_ = Clock::now();
};

}  // namespace unmask
