// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cluster/placement.h"
#include "comm/chunks.h"
#include "comm/exchange.h"
#include "comm/parcel.h"

namespace unmask::comm {

/// What the experts of one rank sum before anything returns. With exact combine these are its reduction groups: a whole one
/// returns as one row in the wire type, of a split one each expert returns by itself in float32. With fast combine all experts
/// of the rank are one unit.
class SumUnits {
 public:
  SumUnits(const cluster::Placement& placement, Rank rank, Combine combine);

  std::int32_t unit(std::int64_t local_expert) const { return unit_[size(local_expert)]; }
  bool is_whole(std::int64_t local_expert) const { return whole_[size(local_expert)] != 0; }

 private:
  std::vector<std::int32_t> unit_;   ///< [local experts]
  std::vector<std::uint8_t> whole_;  ///< [local experts]
};

/// The rows that go back for a parcel, a slot for each (row, unit). A slot is begun by the chunk of its first expert there and
/// returns with the chunk of its last one; both ends find this alike in the parcel, so nothing but values travels:
///
///   chunk:     0        1        2                     as messages  | chunk 0 | chunk 1   | chunk 2 |
///   slot A     x ------ x ->                                            B       A   D       C
///   slot B     x ->
///   slot C              x ------ x ->
class ReturnPlan {
 public:
  struct Slot {
    std::int32_t first_pair = 0;  ///< of the parcel
    std::int32_t num_pairs = 0;
    std::int32_t row = 0;         ///< of the parcel
    std::uint8_t first_chunk = 0, last_chunk = 0;
    bool whole = true;            ///< in the wire type, else float32
    std::int64_t offset = 0;      ///< bytes, in all that returns
  };

  void plan(const Parcel& parcel, const SumUnits& units, const ChunkGrid& grid, Rank rank, const ExchangeOptions& options);

  std::span<const Slot> slots() const { return slots_; }  ///< ascending by row, then by expert
  /// Slots [begin, end) of a run of chunks in the order of return, as places in slots().
  std::span<const std::int32_t> returning(std::int64_t chunk_begin, std::int64_t chunk_end) const;
  std::span<const std::int64_t> chunk_bytes() const { return chunk_bytes_; }
  std::int64_t num_bytes() const { return num_bytes_; }

 private:
  void order(const ExchangeOptions& options);

  std::vector<Slot> slots_;
  std::vector<std::int32_t> order_;
  std::vector<std::int64_t> chunk_begin_;  ///< [chunks + 1] of order_
  std::vector<std::int64_t> chunk_bytes_;
  std::int64_t num_bytes_ = 0;
};

}  // namespace unmask::comm
