// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <thread>

#include "cluster/rank_record.h"

namespace unmask::cluster {

/// What a process and its guard share.
struct GuardBoard {
  static constexpr std::size_t kMaxRanks = 256;

  std::atomic<std::int64_t> silence_ms;  ///< without a pulse for so long the process counts as stuck; 0: for ever
  std::atomic<std::int64_t> stopped_ms;  ///< stopped by a signal for so long it counts as lost; 0: for ever
  std::atomic<int> state;                ///< of GuardState
  std::array<RankRecord, kMaxRanks> ranks;  ///< of the process: one, or those of --transport threads:N
};
enum class GuardState : int {
  kRuns = 0,
  kEnds,       ///< it ends in order
  kSignalled,  ///< it ends since somebody asked it to: nothing is to be told
  kFails,      ///< it has told of a failure and takes the job down: it may not take long
};

/// A second process that sees to it that this one ends. Forked before MPI starts, it ends the process where no record's pulse
/// goes on for a limit, where a signal has stopped it for one, or where the launcher that started it (mpirun, orted, srun's step)
/// is gone: it asks for exit code 4, also of a process that hangs in MPI, and sends SIGKILL if that does not help. Where the
/// process has died without a word or in failure, it says so, writes the last operations, and ends an mpirun on this host that
/// does not end by itself (cluster/launcher_end.h). If the guard dies, this process ends with exit code 4.
///
///   launcher --- rank <== socket: each sees at once that the other has died ==> guard
///                  \== shared memory: pulse, limit, last operations ==/
///
/// Time in which the guard was itself stopped (a suspended job) does not count.
class Guard {
 public:
  using Seconds = std::chrono::duration<double>;
  /// How long the process may be what; 0: for ever.
  struct Limits {
    Seconds silent{};
    Seconds stopped{};
  };

  /// Forks: to be made before there are threads. Throws Error(kBadInput) where the system has no more processes.
  explicit Guard(const Limits& limits);
  /// Takes leave in order.
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  void set_limits(const Limits& limits);
  RankRecord& record(std::size_t rank_of_process) { return board_->ranks.at(rank_of_process); }
  std::span<RankRecord> records() { return board_->ranks; }
  std::atomic<int>& state() { return board_->state; }
  pid_t process() const { return guard_; }

 private:
  void watch_guard();

  GuardBoard* board_;
  std::string name_;  ///< of the rank; its record is the rank's own, so the watcher reads none of it
  int socket_ = -1;
  pid_t guard_ = -1;
  std::thread watcher_;  ///< blocks until the guard is gone, or asks for the end
};

}  // namespace unmask::cluster
