// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "comm/point_to_point.h"

namespace unmask::comm {

/// A Communicator over any transport.
std::unique_ptr<Communicator> make_communicator(std::unique_ptr<PointToPoint> wires);

}  // namespace unmask::comm
