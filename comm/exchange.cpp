// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange.h"

#include <limits>

#include "base/error.h"
#include "comm/token_exchange.h"

namespace unmask::comm {

std::unique_ptr<Exchange> make_exchange(Communicator& comm, const cluster::Placement& placement, ThreadTeam& team,
                                        const ExchangeOptions& options) {
  UNMASK_CHECK(placement.num_ranks() == comm.num_ranks(), "placement for {} ranks, {} take part", placement.num_ranks(),
               comm.num_ranks());
  UNMASK_CHECK(options.hidden > 0, "hidden = {}", options.hidden);
  constexpr std::int64_t kMaxExperts = std::numeric_limits<std::uint16_t>::max();
  require(placement.num_experts() <= kMaxExperts, ExitCode::kBadInput, "expected at most {} experts per layer, found {}",
          kMaxExperts, placement.num_experts());
  return std::make_unique<TokenExchange>(comm.wires(), placement, team, options);
}

}  // namespace unmask::comm
