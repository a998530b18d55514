// SPDX-License-Identifier: Apache-2.0
#include "runtime/load_loop.h"

#include <atomic>

#include "base/clock.h"

namespace unmask::runtime {
namespace {

constexpr double kProgressSeconds = 0.5;

}  // namespace

void read_all(const LoadWork& work, ThreadTeam& team, const std::function<void(const LoadProgress&)>& progress) {
  const Stopwatch watch;
  std::atomic<std::size_t> next = 0;
  std::atomic<std::uint64_t> bytes_read = 0;
  std::atomic<bool> failed = false;
  double told_at = 0;
  team.run([&](int member) {
    Staging staging;
    for (auto i = next.fetch_add(1); i < work.num_pieces && !failed; i = next.fetch_add(1)) {
      try {
        bytes_read += work.read(i, staging);
        if (member == 0 && progress && watch.seconds() - told_at >= kProgressSeconds) {
          told_at = watch.seconds();
          progress({bytes_read, work.num_bytes, told_at});
        }
      } catch (...) {
        failed = true;
        throw;
      }
    }
  });
  if (progress) {
    progress({bytes_read, work.num_bytes, watch.seconds()});
  }
}

}  // namespace unmask::runtime
