// SPDX-License-Identifier: Apache-2.0
#include "runtime/rank_loads.h"

#include <algorithm>
#include <cmath>

#include "runtime/sequence.h"

namespace unmask::runtime {
namespace {

constexpr double kGuessedTokensPerPass = 4;

}  // namespace

double predicted_rows(const Request& request) {
  // A block's first pass feeds everything; tokens per pass are the same guess for all.
  const auto answer = static_cast<double>(request.options.gen_length);
  const double blocks = std::ceil(answer / static_cast<double>(request.options.block_length));
  return blocks * static_cast<double>(full_rows(request)) + answer * static_cast<double>(usual_rows(request)) / kGuessedTokensPerPass;
}

RankLoads::RankLoads(std::int64_t num_ranks) : rows_(size(num_ranks)) {}

Rank RankLoads::place(const Request& request) {
  const auto least = std::min_element(rows_.begin(), rows_.end());
  *least += predicted_rows(request);
  return Rank(least - rows_.begin());
}

void RankLoads::remove(Rank rank, const Request& request) {
  rows_[rank.at()] = std::max(0.0, rows_[rank.at()] - predicted_rows(request));
}

std::vector<Rank> spread_over_ranks(std::span<const Request> requests, std::int64_t num_ranks) {
  RankLoads loads(num_ranks);
  std::vector<Rank> ranks;
  for (const Request& request : requests) {
    ranks.push_back(loads.place(request));
  }
  return ranks;
}

}  // namespace unmask::runtime
