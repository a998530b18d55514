// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/log.h"
#include "comm/communicator.h"
#include "runtime/weight_share.h"

namespace unmask::runtime {

/// Collective. Memory of so many bytes that the ranks of each host have together, and this rank's part in filling it; nothing shared
/// on a host of one rank. A host whose ranks cannot share (containers that do not see each other) does without, and rank 0's log says
/// why. `log` may be null.
WeightShare share_on_host(comm::Communicator& comm, std::uint64_t bytes, const Logger* log);

}  // namespace unmask::runtime
