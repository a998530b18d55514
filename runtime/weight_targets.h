// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cluster/placement.h"
#include "runtime/tensor_slots.h"
#include "runtime/weight_share.h"
#include "runtime/weights.h"

namespace unmask::runtime {

/// How the matrices of a rank are held.
struct WeightForms {
  experts::Layout layout = experts::Layout::kRows;  ///< of all but embedding, routers and quantised experts
  experts::WeightType expert_type = experts::WeightType::kBf16;
  WeightShare share = {};
};

/// Of the ranks of a host, who needs a tensor.
enum class NeededBy { kOneRank, kAllRanks };

/// What a slot of the network fills on this rank: one of the two, or nothing (the expert of another rank).
struct WeightTarget {
  experts::Matrix* matrix = nullptr;
  std::vector<float>* norm = nullptr;
  experts::WeightType type = experts::WeightType::kBf16;    ///< of the matrix
  experts::Layout layout = experts::Layout::kRows;          ///< in which kernels take the matrix
  NeededBy needed_by = NeededBy::kOneRank;                  ///< norms count as one rank's: they are small
};

/// Weights with room for all layers and this rank's experts, nothing of it allocated.
ModelWeights empty_weights(const ModelConfig& config, const cluster::Placement& placement, Rank rank, const WeightShare& share = {});

/// The matrix of a target, not yet filled. Throws std::bad_alloc.
experts::Matrix allocate(const WeightTarget& target, const TensorSlot& slot, SharedPlaces& places);

/// Where the tensor belongs in `weights`. Not for fused slots.
WeightTarget target_of(const TensorSlot& slot, const cluster::Placement& placement, Rank rank, const WeightForms& forms,
                       ModelWeights& weights);

}  // namespace unmask::runtime
