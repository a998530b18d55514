// SPDX-License-Identifier: Apache-2.0
#include "comm/cpu_meter.h"

#include <ctime>

namespace unmask::comm {

std::int64_t CpuMeter::thread_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void CpuMeter::add_look(std::int64_t nanoseconds) {
  constexpr std::int64_t kClearly = 4;  // an idle look that loses its caches, or asks for two messages instead of one
  if (idle_ == 0 || nanoseconds < idle_) {
    idle_ = nanoseconds > 1 ? nanoseconds : 1;
  }
  if (nanoseconds > kClearly * idle_) {
    total_.fetch_add(nanoseconds, std::memory_order_relaxed);
  }
}

}  // namespace unmask::comm
