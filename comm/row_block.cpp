// SPDX-License-Identifier: Apache-2.0
#include "comm/row_block.h"

#include <cstring>

#include "base/error.h"
#include "comm/wire_format.h"

namespace unmask::comm {

std::int64_t block_bytes(std::int64_t num_rows, std::int64_t top_k, const ExchangeOptions& options) {
  constexpr std::int64_t kPairBytes = sizeof(float) + sizeof(std::uint16_t);
  return num_rows * (top_k * kPairBytes + options.hidden * value_bytes(options.wire));
}

void write_block(const cluster::Routing& routing, std::span<const float> rows, const ExchangeOptions& options, std::byte* block) {
  for (const float weight : routing.weights) {
    std::memcpy(block, &weight, sizeof weight);
    block += sizeof weight;
  }
  for (const ExpertId id : routing.ids) {
    const auto wire = static_cast<std::uint16_t>(id.value);
    std::memcpy(block, &wire, sizeof wire);
    block += sizeof wire;
  }
  encode(rows.data(), std::ssize(rows), options.wire, block);
}

void ReadBlock::read(const std::byte* block, std::int64_t num_rows, std::int64_t top_k, std::int64_t num_experts, Rank from) {
  num_rows_ = num_rows;
  top_k_ = top_k;
  weights_.resize(size(num_rows * top_k));
  for (float& weight : weights_) {
    std::memcpy(&weight, block, sizeof weight);
    block += sizeof weight;
  }
  ids_.clear();
  for (std::int64_t pair = 0; pair < num_rows * top_k; ++pair) {
    std::uint16_t id = 0;
    std::memcpy(&id, block, sizeof id);
    block += sizeof id;
    require(id < num_experts && (pair % top_k == 0 || id > ids_.back().value), ExitCode::kPeerLost,
            "message from rank {}: row {} names expert {}, expected ascending ones below {}: its memory or the wire is bad", from,
            pair / top_k, id, num_experts);
    ids_.emplace_back(id);
  }
  values_ = block;
}

std::int64_t next_block_capacity(std::int64_t most_rows, std::int64_t top_k, const ExchangeOptions& options) {
  const std::int64_t bytes = block_bytes(most_rows, top_k, options);
  switch (options.algorithm) {
    case Algorithm::kDirect:
      return 0;
    case Algorithm::kAllGather:
      return bytes;
    case Algorithm::kAuto:
      break;
  }
  // A block saves two messages to each rank, and carries rows and padding that some ranks have no use for.
  return static_cast<double>(bytes) <= options.link.bytes_per_second * options.link.latency_seconds ? bytes : 0;
}

}  // namespace unmask::comm
