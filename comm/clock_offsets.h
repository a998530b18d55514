// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "comm/communicator.h"

namespace unmask::comm {

/// Collective. By rank, how many seconds its steady clock is ahead of rank 0's, to within half of the quickest of some round
/// trips; on every rank.
std::vector<double> clock_offsets(Communicator& comm);

}  // namespace unmask::comm
