// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/types.h"

namespace unmask::comm {

/// One buffer per peer, grown where needed, never shrunk.
class MessageBuffers {
 public:
  explicit MessageBuffers(std::int64_t num_ranks) : buffers_(size(num_ranks)) {}
  /// What was in it may be lost.
  std::span<std::byte> room(Rank peer, std::int64_t bytes) {
    buffers_[peer.at()].grow(bytes);
    return buffers_[peer.at()].span().first(size(bytes));
  }
  std::byte* of(Rank peer) { return buffers_[peer.at()].data(); }

 private:
  std::vector<AlignedBuffer<std::byte>> buffers_;
};

}  // namespace unmask::comm
