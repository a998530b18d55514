// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/stored_parts.h"
#include "runtime/weight_targets.h"

namespace unmask::runtime {

/// A part of a safetensors file, and where its values go: exactly one of the targets is set.
struct Transfer {
  StoredPart part;
  bfloat16* values = nullptr;             ///< of a matrix in rows
  experts::Matrix* to_pack = nullptr;     ///< that matrix, where it is packed once all of it is there
  float* norm = nullptr;
  experts::Matrix* quantised = nullptr;   ///< parts are whole panels
  std::int64_t first_of_matrix = 0;       ///< where in `quantised` the elements belong
};

/// A rank's weights, allocated but not yet filled, and all that must be read to fill them.
struct LoadPlan {
  /// Throws std::bad_alloc.
  LoadPlan(const Checkpoint::Impl& checkpoint, const cluster::Placement& placement, Rank rank, const WeightForms& forms);
  LoadPlan(const LoadPlan&) = delete;  // transfers point into weights
  LoadPlan& operator=(const LoadPlan&) = delete;

  ModelWeights weights;
  std::vector<Transfer> transfers;
};

/// Cuts transfers into pieces of at most `max_bytes`, or of one panel where that is more, in the order in which they lie in the files.
std::vector<Transfer> cut_into_pieces(const std::vector<Transfer>& transfers, std::uint64_t max_bytes);

}  // namespace unmask::runtime
