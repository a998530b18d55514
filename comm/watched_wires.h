// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "cluster/rank_record.h"
#include "comm/point_to_point.h"

namespace unmask::comm {

/// Any transport, with what makes it safe to wait on: every message is noted in the record, ranks tell each other that they live
/// (Vigil), and with verification a checksum follows each message:
///
///   sender: payload, {sum, number, sender, lane} --same lane, in order--> receiver: compares, Error(kPeerLost) names the sender
///
/// `record` may be null; it must outlive the wires.
std::unique_ptr<PointToPoint> watch(std::unique_ptr<PointToPoint> wires, cluster::RankRecord* record);

}  // namespace unmask::comm
