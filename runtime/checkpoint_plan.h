// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster/placement.h"
#include "runtime/checkpoint_impl.h"

namespace unmask::runtime {

/// Consecutive elements of a stored tensor, and where their values go: exactly one of the three targets is set.
struct Transfer {
  const SafetensorsFile* file = nullptr;
  std::string tensor;
  FloatType type{};
  std::uint64_t begin = 0;          ///< byte of the file
  std::int64_t first_element = 0;   ///< of the tensor, for messages
  std::int64_t num_elements = 0;
  bfloat16* matrix = nullptr;
  const bfloat16* whole_matrix = nullptr;  ///< where the matrix of which this is a part begins
  float* norm = nullptr;
  experts::Matrix* quantised = nullptr;    ///< pieces are whole panels
  std::int64_t first_of_matrix = 0;        ///< where in `quantised` the elements belong

  std::uint64_t num_bytes() const { return static_cast<std::uint64_t>(num_elements) * bytes_of(type); }
};

/// A rank's weights, allocated but not yet filled, and all that must be read to fill them.
struct LoadPlan {
  ModelWeights weights;
  std::vector<Transfer> transfers;
};

/// Throws std::bad_alloc.
LoadPlan plan_load(const Checkpoint::Impl& checkpoint, const cluster::Placement& placement, Rank rank, experts::WeightType expert_type);

/// Cuts transfers into pieces of at most `max_bytes`, or of one panel where that is more, in the order in which they lie in the files.
std::vector<Transfer> cut_into_pieces(const std::vector<Transfer>& transfers, std::uint64_t max_bytes);

}  // namespace unmask::runtime
