// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "launcher/run/job.h"

namespace unmask::launcher {

struct ExchangeCheck {
  std::string what;
  std::int64_t num_rows = 0;   ///< of all ranks
  std::int64_t num_wrong = 0;  ///< rows of all ranks whose sum is not what the router asked for
};

/// Collective. Sends rows that name their origin through the exchange, with experts that only multiply by a number of their
/// own, and compares with the same sums taken on the spot. All values are exact in either wire type.
std::vector<ExchangeCheck> check_exchange(const Job& job);

}  // namespace unmask::launcher
