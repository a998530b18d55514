// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/types.h"
#include "runtime/rank_loads.h"
#include "runtime/request.h"

namespace unmask::launcher {

/// What a rank can have in hand at a time.
struct RankRoom {
  std::int64_t rows = 0;    ///< of usual windows in a step
  std::uint64_t bytes = 0;  ///< of memory for what requests keep between passes
};

/// Decides which rank gets the next request: the one with the fewest rows to come, among those with room. A rank has room for
/// what it can run and an eighth more, so that one that finishes finds the next without waiting for rank 0.
class HandOut {
 public:
  /// `bytes_of`: what a request keeps.
  using BytesOf = std::function<std::uint64_t(const runtime::Request&)>;
  HandOut(std::vector<RankRoom> rooms, BytesOf bytes_of);

  /// Nothing: all ranks have enough in hand. An idle rank takes any request.
  std::optional<Rank> place(const runtime::Request& request);
  /// It was answered.
  void remove(std::int64_t number);
  std::int64_t num_out() const { return static_cast<std::int64_t>(out_.size()); }
  const std::vector<std::int64_t>& num_given() const { return num_given_; }

 private:
  struct Load {
    double rows_to_come = 0;
    std::int64_t rows = 0;
    std::uint64_t bytes = 0;
    std::int64_t requests = 0;
  };
  struct Out {
    Rank rank;
    Load load;
  };
  bool has_room(std::size_t rank, const Load& more) const;

  std::vector<RankRoom> rooms_;
  BytesOf bytes_of_;
  std::vector<Load> loads_;
  std::vector<std::int64_t> num_given_;
  std::unordered_map<std::int64_t, Out> out_;  ///< by number
};

}  // namespace unmask::launcher
