// SPDX-License-Identifier: Apache-2.0
// What tests may ask of the simulated NCCL.
#pragma once

#include <nccl.h>

namespace simulator {

/// The next group of this rank, of whatever communicator, ends with the error.
void fail_next_group(int rank, ncclResult_t error);
/// Communicators that nobody has destroyed or aborted, and those that were aborted while something was under way.
int num_communicators();
int num_aborted_at_work();

}  // namespace simulator
