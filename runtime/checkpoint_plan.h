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
  experts::Matrix* matrix = nullptr;  ///< parts are whole panels, whatever the layout
  std::int64_t first_row = 0;         ///< of the matrix
  float* norm = nullptr;
  NeededBy needed_by = NeededBy::kOneRank;

  std::int64_t num_rows() const { return part.num_elements / matrix->cols(); }
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

/// Cuts transfers into pieces of at most `max_bytes`, or of one panel where that is more, in the order in which they lie in the files;
/// only those that are this rank's to read.
std::vector<Transfer> cut_into_pieces(const std::vector<Transfer>& transfers, std::uint64_t max_bytes, const WeightShare& share);

}  // namespace unmask::runtime
