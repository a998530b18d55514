// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cluster/placement.h"
#include "comm/exchange.h"

namespace unmask::comm {

/// What the experts of each rank sum before anything returns to the rank of a row, where devices do the work. Like SumUnits, but
/// messages are made for all rows of a rank, whatever they chose, so that sizes are known without looking at the routing:
///
///   combine exact   a whole reduction group                          one row, rounded to what travels
///                   of a split group, its first experts on one rank  one float32 row: a sum that is begun
///                   each other expert of a split group               one float32 row: terms that come after
///   combine fast    all experts of the rank                          one row, rounded
///
/// The rank of the row goes on with a sum that was begun: the same additions in the same order as where one rank has the group.
class UnitPlan {
 public:
  UnitPlan(const cluster::Placement& placement, Combine combine);

  enum class Kind { kRounded, kPlain };
  static constexpr std::size_t kNumKinds = 2;
  struct Unit {
    std::int32_t begin = 0, end = 0;  ///< local experts; units follow each other without a gap
    Kind kind = Kind::kRounded;
    std::int32_t index = 0;           ///< among those of its kind on its rank
  };
  std::span<const Unit> units(Rank rank) const { return units_[rank.at()]; }

  /// Units of a kind are counted over all ranks: those of a rank begin with this one.
  std::int32_t first(Rank rank, Kind kind) const { return first_[kind_at(kind)][rank.at()]; }
  std::int32_t count(Rank rank, Kind kind) const { return first_[kind_at(kind)][rank.at() + 1] - first(rank, kind); }
  std::int32_t count(Kind kind) const { return first_[kind_at(kind)].back(); }

  /// What an expert's unit is to the row that chose it.
  struct Term {
    std::int32_t order = 0;   ///< terms of a row are added ascending by it; experts of one unit have the same
    std::int32_t index = 0;   ///< of the unit, among those of its kind on all ranks
    std::int32_t group = -1;  ///< of a plain one: its terms are summed, rounded, then added
  };
  std::span<const Term> terms() const { return terms_; }  ///< by expert

  /// The part of a rank's units that is the i-th of n: it is computed, and returns, behind the part before.
  struct Part {
    std::int32_t begin = 0, end = 0;  ///< units of the rank
    std::int32_t first_expert = 0, last_expert = 0;  ///< local, [first, last)
    struct Range {
      std::int32_t begin = 0, end = 0;
    };
    Range of_kind[kNumKinds];         ///< indices among those of the kind on the rank
  };
  Part part(Rank rank, std::int64_t i, std::int64_t n) const;
  std::int64_t most_units() const;    ///< of any rank

 private:
  static std::size_t kind_at(Kind kind) { return static_cast<std::size_t>(kind); }
  void plan(const cluster::Placement& placement, Combine combine, Rank rank);

  std::vector<std::vector<Unit>> units_;           ///< [rank]
  std::vector<std::int32_t> first_[kNumKinds];     ///< [ranks + 1]
  std::vector<Term> terms_;
};

}  // namespace unmask::comm
