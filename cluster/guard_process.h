// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include "cluster/guard.h"

namespace unmask::cluster {

/// The life of a guard, in its own process.
struct Watched {
  pid_t rank;
  int socket;  ///< readable when the process is gone
};
[[noreturn]] void run_guard_process(GuardBoard& board, const Watched& watched);

}  // namespace unmask::cluster
