// SPDX-License-Identifier: Apache-2.0
#include "comm/chunks.h"

#include <algorithm>
#include <limits>

namespace unmask::comm {

ChunkGrid::ChunkGrid(const cluster::Placement& placement, std::int64_t max_chunks) : chunk_(size(placement.num_ranks())) {
  std::int64_t most_held = 1;
  for (Rank rank(0); rank.value < placement.num_ranks(); ++rank) {
    most_held = std::max(most_held, std::ssize(placement.held_by(rank)));
  }
  num_chunks_ = std::clamp<std::int64_t>(max_chunks, 1, std::min<std::int64_t>(most_held, std::numeric_limits<std::uint8_t>::max()));
  for (Rank rank(0); rank.value < placement.num_ranks(); ++rank) {
    const std::int64_t held = std::ssize(placement.held_by(rank));
    for (std::int64_t expert = 0; expert < held; ++expert) {
      chunk_[rank.at()].push_back(static_cast<std::uint8_t>(expert * num_chunks_ / held));
    }
  }
}

std::int64_t ChunkGrid::experts_before(Rank rank, std::int64_t chunk) const {
  const auto& chunks = chunk_[rank.at()];
  return std::lower_bound(chunks.begin(), chunks.end(), chunk) - chunks.begin();
}

std::vector<Cut> cut_into_messages(std::span<const std::int64_t> chunk_bytes, std::int64_t min_bytes) {
  std::vector<Cut> cuts;
  Cut open;
  for (const std::int64_t bytes : chunk_bytes) {
    open.bytes += bytes;
    ++open.end;
    if (open.bytes > 0 && open.bytes >= min_bytes) {
      cuts.push_back(open);
      open = {open.end, open.end, 0};
    }
  }
  if (open.bytes > 0 && cuts.empty()) {
    cuts.push_back(open);
  } else if (!cuts.empty()) {  // too little for a message of its own
    cuts.back().end = open.end;
    cuts.back().bytes += open.bytes;
  }
  return cuts;
}

}  // namespace unmask::comm
