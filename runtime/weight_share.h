// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "cluster/shared_memory.h"
#include "experts/matrix.h"
#include "runtime/model_config.h"

namespace unmask::runtime {

/// How a rank and others of its host hold the matrices that all ranks need (embedding, attention, routers, head): one copy
/// together, of which each rank fills a part, or one copy each.
///
///   memory   | embedding       | q | k | v | o | router | q | ...        | head            |
///   filled by  0 1 2 0 1 2 0 1 2 ...        4 MiB of what is read at a time: on hosts of several NUMA nodes every matrix lies on all of them
struct WeightShare {
  std::shared_ptr<const cluster::SharedMemory> memory = {};  ///< null: a copy of its own
  std::int64_t part = 0;                                     ///< that this rank fills
  std::int64_t num_parts = 1;
};

/// Memory for all these matrices of a network, in whatever order they are placed.
std::uint64_t shared_memory_bytes(const ModelConfig& config);

/// Gives these matrices their places in the memory. All ranks must ask for the same matrices in the same order.
class SharedPlaces {
 public:
  explicit SharedPlaces(const WeightShare& share) : share_(share) {}
  /// Of its own where nothing is shared.
  experts::Matrix next(std::int64_t rows, std::int64_t cols, experts::Layout layout);

 private:
  const WeightShare& share_;
  std::size_t used_ = 0;
};

/// Deals what has to be read for these matrices out to the ranks. All must ask about the same pieces in the same order.
class SharedParts {
 public:
  explicit SharedParts(const WeightShare& share) : share_(share) {}
  /// Whether the next piece is this rank's to read.
  bool is_mine(std::uint64_t bytes);

 private:
  const WeightShare& share_;
  std::uint64_t dealt_bytes_ = 0;
};

}  // namespace unmask::runtime
