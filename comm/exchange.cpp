// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange.h"

#include <limits>

#include "base/error.h"
#include "base/format.h"
#include "comm/token_exchange.h"

namespace unmask::comm {

std::string describe_choice(const ExchangeOptions& options) {
  switch (options.algorithm) {
    case Algorithm::kDirect:
      return "rows travel directly";
    case Algorithm::kAllGather:
      return "rows travel by all-gather";
    case Algorithm::kAuto:
      break;
  }
  std::int64_t most = 0;  // rows of a rank; as if a row had one expert, whose number and weight are little beside it
  while (next_block_capacity(most + 1, 1, options) > 0 && most < (1 << 20)) {
    ++most;
  }
  return most == 0 ? "rows travel directly" : format("rows travel by all-gather where no rank has more than {}, else directly", most);
}

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
