// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "base/trace.h"
#include "launcher/run/job.h"

namespace unmask::launcher {

/// Collective. Writes the traces of all ranks on rank 0 as Chrome trace events, which Perfetto (ui.perfetto.dev) shows: a process
/// for each rank, a track for its work and one for each lane and direction of its messages, all by rank 0's clock.
void write_trace(const Job& job, const Trace& mine, const std::string& file);

}  // namespace unmask::launcher
