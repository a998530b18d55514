// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/checkpoint.h"
#include "runtime/checkpoint_files.h"
#include "runtime/tensor_slots.h"
#include "runtime/tensor_values.h"

namespace unmask::runtime {

/// What opening a checkpoint finds out; const from then on.
struct Checkpoint::Impl {
  ModelFiles files;
  ModelConfig config = {};
  CheckpointFiles tensors = {};               ///< of a folder
  std::vector<ExpertForm> expert_forms = {};  ///< by layer
  std::vector<std::string> unknown_tensors = {};
  std::string fingerprint = {};
  experts::WeightType expert_type = experts::WeightType::kBf16;

  void visit(const std::function<void(const TensorSlot&)>& visit) const {
    visit_tensors(config, [this](std::int64_t layer) { return expert_forms[size(layer)]; }, visit);
  }
};

/// The type of a tensor that holds weights, or nothing where its type is not one of those we read.
std::optional<FloatType> float_type(const StoredTensor& tensor);

/// Both throw Error(kBadInput), Error(kIo) or std::bad_alloc.
LoadResult load_from_folder(const Checkpoint::Impl& checkpoint, const cluster::Placement& placement, Rank rank, ThreadTeam& team,
                            const LoadOptions& options);
LoadResult load_from_packed(const Checkpoint::Impl& checkpoint, const cluster::Placement& placement, Rank rank, ThreadTeam& team,
                            const LoadOptions& options);

}  // namespace unmask::runtime
