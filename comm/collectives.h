// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "comm/point_to_point.h"

namespace unmask::comm {

/// The blocking collectives of Communicator over any transport, on the control lane.

/// Everyone sends straight to everyone: as many bytes as any other way, and whoever is missing is named by all the others.
std::vector<Bytes> all_gather(PointToPoint& wires, std::span<const std::byte> mine);

/// Down a binomial tree, so that a large blob leaves the root log2(ranks) times, not once per rank.
Bytes broadcast(PointToPoint& wires, std::span<const std::byte> mine, Rank root);

void barrier(PointToPoint& wires);

}  // namespace unmask::comm
