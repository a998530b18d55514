// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>

namespace unmask::comm {

/// Processor time, user and kernel, that the exchange spends on moving bytes. A look at the transport that finds nothing to do
/// is not counted: its cost is that of the cheapest look so far, and only what clearly exceeds it has moved something.
class CpuMeter {
 public:
  /// All the calling thread's time in part() counts.
  template <class Part>
  void work(const Part& part) {
    const std::int64_t begin = thread_nanoseconds();
    part();
    total_.fetch_add(thread_nanoseconds() - begin, std::memory_order_relaxed);
  }
  /// A look at the transport. By one thread only.
  template <class Look>
  bool look(const Look& look) {
    const std::int64_t begin = thread_nanoseconds();
    const bool result = look();
    add_look(thread_nanoseconds() - begin);
    return result;
  }
  double seconds() const { return static_cast<double>(total_.load(std::memory_order_relaxed)) * 1e-9; }

 private:
  static std::int64_t thread_nanoseconds();
  void add_look(std::int64_t nanoseconds);

  std::atomic<std::int64_t> total_ = 0;
  std::int64_t idle_ = 0;  ///< the cheapest look so far; 0: none yet
};

}  // namespace unmask::comm
