// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/error.h"
#include "launcher/run/job.h"

namespace unmask::launcher {

// Each runs on every rank of the job and returns the rank's exit code. What a command cannot do is an Error: an AgreedError
// where all ranks have it.
ExitCode run_generate(const Job& job);
ExitCode run_batch(const Job& job);
ExitCode run_logits(const Job& job);
ExitCode run_check(const Job& job);
ExitCode run_bench(const Job& job);
ExitCode run_pack(const Job& job);  ///< rank 0 works

// These need one rank only.
ExitCode run_tokenize(const Job& job);
ExitCode run_detokenize(const Job& job);
ExitCode run_info(const Job& job);

}  // namespace unmask::launcher
