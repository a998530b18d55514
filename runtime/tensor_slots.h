// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/types.h"
#include "runtime/model_config.h"

namespace unmask::runtime {

enum class TensorKind {
  kEmbedding, kFinalNorm, kHead,                                                        // of the network
  kInputNorm, kPostAttentionNorm, kQNorm, kKNorm, kQuery, kKey, kValue, kOutput, kRouter,  // of a layer
  kGate, kUp, kDown,                                                                    // of an expert
  kFusedGateUp,  ///< of all experts of a layer (dInfer's mlp.w1): per expert the rows of gate, then those of up
  kFusedDown,    ///< the same, mlp.w2
};

/// How a checkpoint stores the experts of a layer.
enum class ExpertForm { kSeparate, kFused };

/// A tensor that the network needs, by its name in the checkpoint.
struct TensorSlot {
  TensorKind kind{};
  std::int64_t layer = 0;  ///< for all but the first three kinds
  ExpertId expert;         ///< for kGate, kUp, kDown
  std::string name;
  std::vector<std::uint64_t> shape;
};

/// `model.layers.L.mlp.w1`: where it is there, the layer's experts are fused.
std::string fused_name(std::int64_t layer);

/// The tensor's name where experts are stored one by one; kind: kGate, kUp or kDown.
std::string expert_tensor_name(TensorKind kind, std::int64_t layer, ExpertId expert);

/// Visits every tensor of the network, layer by layer; form(layer) tells how the experts are stored.
void visit_tensors(const ModelConfig& config, const std::function<ExpertForm(std::int64_t)>& form,
                   const std::function<void(const TensorSlot&)>& visit);

}  // namespace unmask::runtime
