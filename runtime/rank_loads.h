// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/request.h"

namespace unmask::runtime {

/// How many rows a request will feed, as far as its lengths and its cache policy tell.
double predicted_rows(const Request& request);

/// Shares requests out over ranks: each goes to the rank that has the fewest rows to come by then, of several to the lowest.
/// What one rank finds, every rank finds from the same calls.
class RankLoads {
 public:
  explicit RankLoads(std::int64_t num_ranks);

  /// The rank for this request, whose rows are to come there from now on.
  Rank place(const Request& request);
  /// They came, or never will: the request was answered or cancelled.
  void remove(Rank rank, const Request& request);

 private:
  std::vector<double> rows_;  ///< to come, by rank
};

/// The ranks of requests that are all known, placed in their order.
std::vector<Rank> spread_over_ranks(std::span<const Request> requests, std::int64_t num_ranks);

}  // namespace unmask::runtime
