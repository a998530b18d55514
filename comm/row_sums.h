// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cluster/expert_work.h"
#include "cluster/placement.h"
#include "comm/exchange.h"
#include "comm/parcel.h"
#include "comm/return_plan.h"

namespace unmask::comm {

/// What comes back for each row of this rank, and the sum of it.
///
/// sum of a row = sum over its groups, ascending, of the group's sum rounded to the wire type. A split group is summed here, in
/// float32, ascending by expert: the arithmetic, and so every bit, is the same as where one rank holds it whole. With fast
/// combine: sum over the ranks that hold experts of it, ascending, of what each returned.
class RowSums {
 public:
  RowSums(const cluster::Placement& placement, const ExchangeOptions& options);

  /// Forgets what was, and takes the rows' routing.
  void begin(const cluster::Routing& routing);
  /// Where the slots of a parcel will be: in a message, or for the own rank among its slots (the i-th at slots[slot(i)]).
  void expect(Rank from, const Parcel& parcel, const ReturnPlan& plan, const std::byte* message);
  void expect_own(const Parcel& parcel, const ReturnPlan& plan, std::span<const std::int32_t> slots);

  /// values [hidden] += the sum of the row's slots, all of which have come; `own_slots` [.., hidden] are this rank's.
  void add(std::int64_t row, const float* own_slots, float* values) const;

  std::int64_t num_rows() const { return num_rows_; }

 private:
  enum class Where : std::uint8_t { kNowhere, kMessage, kOwn };
  /// What begins at one place of the routing.
  struct Term {
    const std::byte* message = nullptr;
    std::int32_t own = 0;
    Rank from;
    GroupId group;
    Where where = Where::kNowhere;
    bool whole = true;
  };
  struct Columns {
    std::int64_t begin, count;
  };
  void sum_exact(std::span<const Term> terms, const float* own_slots, const Columns& columns, float* sums) const;
  void sum_fast(std::span<const Term> terms, const float* own_slots, const Columns& columns, float* sums) const;
  void add_whole(const Term& term, const float* own_slots, const Columns& columns, float* sums) const;
  void add_split(std::span<const Term> terms, const float* own_slots, const Columns& columns, float* sums) const;

  const cluster::Placement& placement_;
  ExchangeOptions options_;
  std::int64_t num_rows_ = 0;
  std::int64_t top_k_ = 0;
  std::vector<ExpertId> ids_;
  std::vector<Term> terms_;  ///< [rows, top_k]
};

}  // namespace unmask::comm
