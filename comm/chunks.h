// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cluster/placement.h"

namespace unmask::comm {

/// The finest parts in which a layer's rows travel and are computed: each rank's experts, ascending, in num_chunks() runs of
/// nearly equal length. It depends on placement and options alone, so all ranks have the same.
class ChunkGrid {
 public:
  ChunkGrid(const cluster::Placement& placement, std::int64_t max_chunks);

  std::int64_t num_chunks() const { return num_chunks_; }
  std::int64_t chunk_of(Rank rank, std::int64_t local_expert) const { return chunk_[rank.at()][size(local_expert)]; }
  /// The experts of a rank that chunk `chunk` and later ones hold begin here.
  std::int64_t experts_before(Rank rank, std::int64_t chunk) const;

 private:
  std::int64_t num_chunks_;
  std::vector<std::vector<std::uint8_t>> chunk_;  ///< [rank][local expert]
};

/// Chunks [begin, end) that travel as one message.
struct Cut {
  std::int64_t begin = 0, end = 0;
  std::int64_t bytes = 0;
};

/// Joins neighbouring chunks to messages of at least `min_bytes`, where there is so much. Both ends know the bytes of each
/// chunk, so both find the same messages. Chunks without bytes travel nowhere; none at all: no message.
std::vector<Cut> cut_into_messages(std::span<const std::int64_t> chunk_bytes, std::int64_t min_bytes);

}  // namespace unmask::comm
