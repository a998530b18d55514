// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace unmask::launcher {

/// "0.1.0 (commit abc1234)": the same for all ranks of a job.
std::string version_line();

/// What --version prints: commit, compiler, MPI library, kernels.
std::string version_text();

}  // namespace unmask::launcher
