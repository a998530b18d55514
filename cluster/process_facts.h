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

/// Zombies are not alive.
bool is_alive(const Process& process);

/// As in ps: R, S, D, T, Z; '?' where there is none.
char process_state(pid_t process);

}  // namespace unmask::cluster
