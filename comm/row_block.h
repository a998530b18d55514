// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/exchange.h"

namespace unmask::comm {

/// All rows of a rank with their routing, the same for every other rank: what small exchanges send behind each head instead of
/// messages of their own. [weights | ids | values]; receivers pick what their experts need.
std::int64_t block_bytes(std::int64_t num_rows, std::int64_t top_k, const ExchangeOptions& options);
void write_block(const cluster::Routing& routing, std::span<const float> rows, const ExchangeOptions& options, std::byte* block);

/// The block of one rank as it arrived. Reading throws Error(kPeerLost) naming `from` where ids do not ascend or are none of the
/// layer's experts.
class ReadBlock {
 public:
  void read(const std::byte* block, std::int64_t num_rows, std::int64_t top_k, std::int64_t num_experts, Rank from);
  cluster::Routing routing() const { return {num_rows_, top_k_, ids_, weights_}; }
  const std::byte* values() const { return values_; }

 private:
  std::int64_t num_rows_ = 0;
  std::int64_t top_k_ = 0;
  std::vector<ExpertId> ids_;
  std::vector<float> weights_;
  const std::byte* values_ = nullptr;
};

/// Bytes behind every head of the next exchange: enough for the most rows that any rank had in the last one, which all ranks
/// know; 0 where such a block would be too large to pay. A rank with more rows then sends them in messages after all.
std::int64_t next_block_capacity(std::int64_t most_rows, std::int64_t top_k, const ExchangeOptions& options);

}  // namespace unmask::comm
