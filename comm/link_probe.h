// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "comm/communicator.h"

namespace unmask::comm {

/// What messages between ranks cost while all ranks send and receive at once; of the slowest rank, and so the same on all.
struct LinkFacts {
  double latency_seconds = 0;   ///< of a small message, one way
  double bytes_per_second = 0;  ///< of large ones, each way; 0: there is no other rank
};

/// Collective. Passes some messages around a ring of all ranks: some milliseconds, on the slowest of links half a second.
LinkFacts probe_links(Communicator& comm);

}  // namespace unmask::comm
