// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "launcher/run/job.h"

namespace unmask::launcher {

/// Collective. `--dry-run`: reads and checks every line of the input, and says what is wrong with it, what the job needs in memory
/// and, from a timed pass on these ranks, about how long it takes. Answers nothing and writes no file.
ExitCode run_dry(const Job& job);

}  // namespace unmask::launcher
