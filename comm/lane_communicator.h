// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "cluster/rank_record.h"
#include "comm/communicator.h"
#include "comm/point_to_point.h"

namespace unmask::comm {

/// A Communicator over any transport, watched (comm/watched_wires.h); `record` may be null, and must outlive it.
std::unique_ptr<Communicator> make_communicator(std::unique_ptr<PointToPoint> wires, cluster::RankRecord* record = nullptr);

}  // namespace unmask::comm
