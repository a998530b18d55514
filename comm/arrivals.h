// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cluster/expert_work.h"
#include "cluster/placement.h"
#include "comm/chunks.h"
#include "comm/parcel.h"
#include "comm/return_plan.h"

namespace unmask::comm {

/// The parcels of all ranks, laid out as work for this rank's experts.
///
///   parcels by source rank:   [rank 0: row row] [rank 1: row] ...
///   rows of the work:          0   1             2                in the same order
///   assignments:              all pairs, ascending by (expert, row); a chunk of experts has a run of them
///   slots:                    those of all sources, by the chunk that begins them: | chunk 0: rank 0, rank 1 | chunk 1: ...
class Arrivals {
 public:
  Arrivals(const cluster::Placement& placement, Rank me, const ChunkGrid& grid);

  /// A rank's parcel and what will return for it.
  struct Source {
    const Parcel* parcel;
    const ReturnPlan* returns;
  };
  void lay_out(std::span<const Source> sources);

  std::int64_t num_rows() const { return num_rows_; }
  std::int64_t num_slots() const { return slot_begin_.back(); }
  std::int64_t busiest_pairs() const;  ///< of the expert with most assignments
  /// Where the rows of a source begin.
  std::int64_t rows_begin(Rank source) const { return row_begin_[source.at()]; }
  /// What chunks [begin, end) have to do; without rows.
  cluster::ExpertWork work(std::int64_t chunk_begin, std::int64_t chunk_end) const;
  /// Which slots of the work those of a source's return plan are.
  std::span<const std::int32_t> slots_of(Rank source) const { return slot_of_[source.at()]; }

 private:
  void place_assignments(std::span<const Source> sources);
  void place_slots(std::span<const Source> sources);

  Rank me_;
  const ChunkGrid& grid_;
  std::vector<std::int64_t> place_;         ///< [experts held + 1] where an expert's assignments begin
  std::vector<std::int64_t> next_;
  std::vector<cluster::Assignment> assignments_;
  std::vector<std::vector<std::int32_t>> slot_of_;
  std::vector<std::int64_t> slot_begin_;    ///< [chunks + 1]
  std::vector<std::int64_t> row_begin_;     ///< [ranks]
  std::int64_t num_rows_ = 0;
};

}  // namespace unmask::comm
