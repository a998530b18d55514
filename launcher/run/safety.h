// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cluster/guard.h"
#include "comm/communicator.h"
#include "launcher/options/command_line.h"

namespace unmask::launcher {

/// How long a rank may be silent, or stopped by a signal, in the stages of a run:
///
///            | MPI_Init, first collectives | from then on                                  | MPI_Finalize
///   peers    |                             | --watchdog                                    |
///   guard    | --watchdog, at least 5 s;   | 2 s more, so that a survivor can say who is   | 10 x, since rank 0's answers may
///            | loading MPI is progress     | missing before the job ends                   | be read slowly
///   stopped  | --watchdog: nobody else     | as above                                      | --watchdog and 2 s
///            | can say who it is           |                                               |

/// --watchdog as far as a rank knows it before it has heard of rank 0: from its own command line.
comm::Deadline early_deadline(const std::vector<std::string>& arguments);
/// --watchdog of the run; for ever for a command without it.
comm::Deadline deadline_of(const Invocation& invocation);

/// For the guard of a rank.
cluster::Guard::Limits limits_at_start(comm::Deadline deadline);
cluster::Guard::Limits limits_of(comm::Deadline deadline);
cluster::Guard::Limits limits_at_end(comm::Deadline deadline);

}  // namespace unmask::launcher
