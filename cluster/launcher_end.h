// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

#include "cluster/process_facts.h"

namespace unmask::cluster {

/// Ends an mpirun whose job is lost and which is still there after `patience`: it waits for a host that does not answer, and
/// would do so for a quarter of an hour. In steps, each of them only where the one before did not help:
///
///   patience | its connections to other hosts are shut | SIGTERM         | SIGKILL
///            | exit code of the job, in order          | Open MPI 4.1 crashes in it: 139 | 137
///
/// The first step takes the right to look into a process of the same user, which some systems keep from all but its parents.
void end_launcher(const Process& launcher, std::chrono::milliseconds patience);

}  // namespace unmask::cluster
