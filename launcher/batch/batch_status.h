// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "launcher/run/job.h"

namespace unmask::launcher {

/// `--status FILE`: reads answers and journal of a running or dead job, changes nothing, prints how far it is. On rank 0.
ExitCode print_batch_status(const Job& job);

}  // namespace unmask::launcher
