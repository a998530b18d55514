// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cluster/guard.h"
#include "comm/communicator.h"
#include "launcher/options/command_line.h"

namespace unmask::launcher {

/// How long anybody may be silent, in the stages of a run:
///
///   MPI_Init, first collectives | from then on                                     | MPI_Finalize
///   guard: 10 x --watchdog      | peers: --watchdog; guard: 2 s more, so that a    | guard: 10 x
///                               | survivor can say who is missing before the job   |
///                               | ends                                             |

/// --watchdog as far as a rank knows it before it has heard of rank 0: from its own command line.
comm::Deadline early_deadline(const std::vector<std::string>& arguments);
/// --watchdog of the run; for ever for a command without it.
comm::Deadline deadline_of(const Invocation& invocation);

/// For the guard of a rank that starts or ends, and of one that runs this command.
cluster::Guard::Seconds limit_at_the_ends(comm::Deadline deadline);
cluster::Guard::Seconds limit_of(comm::Deadline deadline);
cluster::Guard::Seconds limit_of(const Invocation& invocation);

}  // namespace unmask::launcher
