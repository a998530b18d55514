// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

namespace unmask::cluster {

/// Another process, told apart from a later one that gets the same number.
struct Process {
  pid_t id = 0;
  std::uint64_t start_ticks = 0;
  std::string name;

  /// Whether it is the launcher of a single job, and not a daemon.
  bool serves_one_job() const;
};

/// What started this rank: the nearest ancestor that is known as a launcher or its daemon, else, where the environment says that
/// there is a launcher, the parent. Nothing for a process that somebody started by hand.
std::optional<Process> find_launcher(pid_t rank);

/// This process's number among the ranks, as its launcher put it into the environment.
std::optional<std::int32_t> launched_rank();

/// Zombies are not alive.
bool is_alive(const Process& process);

/// What another process is at.
struct Activity {
  char state = '?';                ///< as in ps: R, S, D, T, Z; '?' where there is none
  std::uint64_t page_faults = 0;   ///< grow while it loads, and touches memory for the first time
  bool is_stopped() const { return state == 'T'; }
};
Activity activity_of(pid_t process);

}  // namespace unmask::cluster
