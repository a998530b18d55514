// SPDX-License-Identifier: Apache-2.0
#include "runtime/weight_targets.h"

#include "base/error.h"

namespace unmask::runtime {

ModelWeights empty_weights(const ModelConfig& config, const cluster::Placement& placement, Rank rank, const WeightShare& share) {
  ModelWeights weights;
  weights.shared = share.memory;
  weights.layers.resize(size(config.num_layers));
  for (LayerWeights& layer : weights.layers) {
    layer.experts.resize(placement.held_by(rank).size());
  }
  return weights;
}

experts::Matrix allocate(const WeightTarget& target, const TensorSlot& slot, SharedPlaces& places) {
  const auto rows = narrow<std::int64_t>(slot.shape[0]), cols = narrow<std::int64_t>(slot.shape[1]);
  if (target.needed_by == NeededBy::kAllRanks) {
    return places.next(rows, cols, target.layout);
  }
  return target.layout == experts::Layout::kPanels ? experts::Matrix::in_panels(rows, cols) : experts::Matrix(rows, cols, target.type);
}

WeightTarget target_of(const TensorSlot& slot, const cluster::Placement& placement, Rank rank, const WeightForms& forms,
                       ModelWeights& weights) {
  LayerWeights& layer = weights.layers[size(slot.layer)];
  const auto norm = [](std::vector<float>& target) { return WeightTarget{.norm = &target}; };
  const auto in_rows = [](experts::Matrix& target) { return WeightTarget{.matrix = &target, .needed_by = NeededBy::kAllRanks}; };
  const auto matrix = [&](experts::Matrix& target) {
    return WeightTarget{.matrix = &target, .layout = forms.layout, .needed_by = NeededBy::kAllRanks};
  };
  const auto expert = [&](experts::Matrix experts::Expert::*member) {
    if (placement.owner(slot.expert) != rank) {
      return WeightTarget{};
    }
    const bool quantised = forms.expert_type != experts::WeightType::kBf16;
    return WeightTarget{.matrix = &(layer.experts[placement.local(slot.expert).at()].*member), .type = forms.expert_type,
                        .layout = quantised ? experts::Layout::kQuantised : forms.layout};
  };
  switch (slot.kind) {
    case TensorKind::kEmbedding: return in_rows(weights.embedding);
    case TensorKind::kFinalNorm: return norm(weights.final_norm);
    case TensorKind::kHead: return matrix(weights.head);
    case TensorKind::kInputNorm: return norm(layer.input_norm);
    case TensorKind::kPostAttentionNorm: return norm(layer.post_attention_norm);
    case TensorKind::kQNorm: return norm(layer.q_norm);
    case TensorKind::kKNorm: return norm(layer.k_norm);
    case TensorKind::kQuery: return matrix(layer.q_proj);
    case TensorKind::kKey: return matrix(layer.k_proj);
    case TensorKind::kValue: return matrix(layer.v_proj);
    case TensorKind::kOutput: return matrix(layer.o_proj);
    case TensorKind::kRouter: return in_rows(layer.router);
    case TensorKind::kGate: return expert(&experts::Expert::gate);
    case TensorKind::kUp: return expert(&experts::Expert::up);
    case TensorKind::kDown: return expert(&experts::Expert::down);
    case TensorKind::kFusedGateUp:
    case TensorKind::kFusedDown: break;
  }
  UNMASK_CHECK(false, "slot {} of kind {}", slot.name, static_cast<int>(slot.kind));
}

}  // namespace unmask::runtime
