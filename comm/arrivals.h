// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cluster/expert_work.h"
#include "cluster/placement.h"
#include "comm/parcel.h"

namespace unmask::comm {

/// The parcels of all ranks, laid out as work for this rank's experts.
///
///   parcels by source rank:   [rank 0: row row] [rank 1: row] ...
///   rows of the work:          0   1             2                     in the same order
///   slots:                    |0 1|2           |3 ...                  per row: one per whole group, else one per expert,
///                              ^ of source 0 ^  ^ of source 1          ascending by expert
///   assignments:              the same pairs, ascending by (expert, row)
class Arrivals {
 public:
  Arrivals(const cluster::Placement& placement, Rank me);

  /// parcels[source]; afterwards assignments() and slots are those of these parcels.
  void lay_out(std::span<const Parcel* const> parcels);

  std::span<const cluster::Assignment> assignments() const { return assignments_; }
  std::int64_t num_rows() const { return num_rows_; }
  std::int64_t num_slots() const { return static_cast<std::int64_t>(slot_is_whole_.size()); }

  /// The slots [begin, end) that go back to a source rank.
  std::int64_t slots_begin(Rank source) const { return slot_begin_[source.at()]; }
  std::int64_t slots_end(Rank source) const { return slot_begin_[source.at() + 1]; }
  /// Whether a slot is the sum of a whole reduction group (rounded to the wire type) or one expert of a split one (float32).
  bool is_whole(std::int64_t slot) const { return slot_is_whole_[size(slot)] != 0; }

 private:
  void count(std::span<const Parcel* const> parcels);

  std::vector<GroupId> group_;          ///< of each local expert
  std::vector<std::uint8_t> is_whole_;  ///< the same
  std::vector<std::int64_t> place_;     ///< [experts held] where the next assignment of an expert goes
  std::vector<cluster::Assignment> assignments_;
  std::vector<std::uint8_t> slot_is_whole_;
  std::vector<std::int64_t> slot_begin_;  ///< [ranks + 1]
  std::int64_t num_rows_ = 0;
};

}  // namespace unmask::comm
