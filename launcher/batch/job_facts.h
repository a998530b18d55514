// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "launcher/batch/journal_record.h"
#include "launcher/run/network.h"

namespace unmask::launcher {

/// What the answers hang on: model and its text files, dtype, kernels, the options that reach an answer. Ranks, threads and
/// memory are not among it.
JobFacts job_facts(const Job& job, const Network& network);

/// Who runs, when and on how many ranks, as JSON for the journal.
std::string run_json(const Job& job, const Network& network);

/// Collective. On rank 0 the start block of the log: every rank with its host, its threads and the hardware threads that
/// they run on.
void log_rank_map(const Job& job, Network& network);

}  // namespace unmask::launcher
