// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "base/types.h"
#include "experts/matrix.h"

namespace unmask::experts {

/// One expert: down(silu(gate x) * up x).
struct Expert {
  Matrix gate;  ///< [width, hidden]
  Matrix up;    ///< [width, hidden]
  Matrix down;  ///< [hidden, width]
};

/// The experts of one layer that live on this rank, ascending by ExpertId: position = LocalExpert.
using ExpertWeights = std::vector<Expert>;

}  // namespace unmask::experts
