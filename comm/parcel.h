// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cluster/placement.h"
#include "comm/chunks.h"
#include "comm/communicator.h"
#include "comm/exchange.h"

namespace unmask::comm {

/// What goes before a parcel, also where the parcel is empty and does not travel at all.
struct ParcelHead {
  std::uint32_t votes = 0;
  std::uint32_t layer = 0;  ///< how many exchanges the sender has begun: ranks out of step are found at once
  std::uint32_t num_rows = 0;
  std::uint32_t num_pairs = 0;
  std::uint32_t all_rows = 0;   ///< of the sender, whomever they go to: all ranks know the most that any had
  std::uint32_t first_half = 0; ///< of all_rows, those that would be in the first of two micro-batches
  std::uint32_t in_block = 0;   ///< 1: all its rows are in the block behind this head, and nothing else comes
};

/// The rows that one rank sends to another in one layer, without their values: each row once, with its experts there. Rows
/// are in the order in which the receiver needs them: by the chunk of their first expert, then ascending.
struct Parcel {
  std::vector<std::int32_t> rows;          ///< rows of the sender; only the sender needs them
  std::vector<std::int32_t> places;        ///< [pairs] where in the sender's routing a pair is; only the sender needs them
  std::vector<std::uint16_t> num_experts;  ///< [rows] pairs that belong to a row, at least one
  std::vector<std::uint16_t> experts;      ///< [pairs] LocalExpert of the receiver, ascending within a row
  std::vector<float> weights;              ///< [pairs]
  std::vector<std::int64_t> chunk_begin;   ///< [chunks + 1] the rows that a chunk is the first to need

  std::int64_t num_rows() const { return std::ssize(num_experts); }
  std::int64_t num_pairs() const { return std::ssize(experts); }
};

/// The routing of a parcel as a message: weights, experts, counts. Of a 2048-wide bfloat16 row with four experts, that is 0.6 %
/// beside the values, which travel in messages of their own.
std::int64_t routing_bytes(std::int64_t num_rows, std::int64_t num_pairs);
void write_routing(const Parcel& parcel, std::byte* message);

/// Reads into parcel (without rows and places). Error(kPeerLost) naming `from` where it names an expert that is not held by
/// `me`, its counts do not add up, or its rows are out of order.
void read_routing(const std::byte* message, const ParcelHead& head, Rank from, Rank me, const ChunkGrid& grid,
                  std::int64_t num_held, Parcel& parcel);

/// Sorts a rank's rows into one parcel per destination. Checks the routing (logic_error: it is our own router's).
class Packer {
 public:
  Packer(const cluster::Placement& placement, const ChunkGrid& grid);
  void pack(const cluster::Routing& routing, std::vector<Parcel>& parcels);

 private:
  /// Where the next row and the next pair of a chunk go in a parcel.
  struct Cursor {
    std::int64_t row = 0, pair = 0;
  };
  void check(const cluster::Routing& routing) const;
  void count(const cluster::Routing& routing, std::vector<Parcel>& parcels);

  const cluster::Placement& placement_;
  const ChunkGrid& grid_;
  std::vector<Cursor> cursors_;         ///< [ranks, chunks]
  std::vector<std::int64_t> last_row_;  ///< by rank: the row that was last seen to go there
  std::vector<Cursor*> here_;           ///< by rank: the cursor of that row
};

}  // namespace unmask::comm
