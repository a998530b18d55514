// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint_plan.h"

#include <algorithm>

#include "base/error.h"

namespace unmask::runtime {
namespace {

class Planner {
 public:
  Planner(const Checkpoint::Impl& checkpoint, const cluster::Placement& placement, Rank rank, experts::WeightType expert_type)
      : checkpoint_(checkpoint), placement_(placement), rank_(rank), expert_type_(expert_type) {
    plan_.weights.layers.resize(size(checkpoint.config.num_layers));
    for (auto& layer : plan_.weights.layers) {
      layer.experts.resize(placement.held_by(rank).size());
    }
  }

  LoadPlan plan() {
    checkpoint_.visit([this](const TensorSlot& slot) { place(slot); });
    return std::move(plan_);
  }

 private:
  void place(const TensorSlot& slot) {
    ModelWeights& w = plan_.weights;
    LayerWeights& layer = w.layers[size(slot.layer)];
    switch (slot.kind) {
      case TensorKind::kEmbedding: return matrix(slot, w.embedding);
      case TensorKind::kFinalNorm: return norm(slot, w.final_norm);
      case TensorKind::kHead: return matrix(slot, w.head);
      case TensorKind::kInputNorm: return norm(slot, layer.input_norm);
      case TensorKind::kPostAttentionNorm: return norm(slot, layer.post_attention_norm);
      case TensorKind::kQNorm: return norm(slot, layer.q_norm);
      case TensorKind::kKNorm: return norm(slot, layer.k_norm);
      case TensorKind::kQuery: return matrix(slot, layer.q_proj);
      case TensorKind::kKey: return matrix(slot, layer.k_proj);
      case TensorKind::kValue: return matrix(slot, layer.v_proj);
      case TensorKind::kOutput: return matrix(slot, layer.o_proj);
      case TensorKind::kRouter: return matrix(slot, layer.router);
      case TensorKind::kGate: return expert(slot, &experts::Expert::gate);
      case TensorKind::kUp: return expert(slot, &experts::Expert::up);
      case TensorKind::kDown: return expert(slot, &experts::Expert::down);
      case TensorKind::kFusedGateUp: return fused_gate_up(slot);
      case TensorKind::kFusedDown: return fused_down(slot);
    }
  }

  /// Elements [first, first + num) of the slot's tensor; the caller sets a target.
  Transfer& transfer(const TensorSlot& slot, std::int64_t first, std::int64_t num) {
    const auto& stored = *checkpoint_.files.find(slot.name);
    const FloatType type = *float_type(*stored.tensor);
    return plan_.transfers.emplace_back(Transfer{.file = stored.file,
                                                 .tensor = slot.name,
                                                 .type = type,
                                                 .begin = stored.tensor->begin + static_cast<std::uint64_t>(first) * bytes_of(type),
                                                 .first_element = first,
                                                 .num_elements = num});
  }
  /// `target`, which has its shape and type, from the slot's element `first` on.
  void part(const TensorSlot& slot, std::int64_t first, experts::Matrix& target) {
    Transfer& part = transfer(slot, first, target.rows() * target.cols());
    if (target.layout() == experts::Layout::kQuantised) {
      part.quantised = &target;
    } else {
      part.matrix = target.data();
      part.whole_matrix = target.data();
    }
  }
  void matrix(const TensorSlot& slot, experts::Matrix& target, experts::WeightType type = experts::WeightType::kBf16) {
    target = experts::Matrix(narrow<std::int64_t>(slot.shape[0]), narrow<std::int64_t>(slot.shape[1]), type);
    part(slot, 0, target);
  }
  void norm(const TensorSlot& slot, std::vector<float>& target) {
    target.resize(slot.shape[0]);
    transfer(slot, 0, std::ssize(target)).norm = target.data();
  }

  void expert(const TensorSlot& slot, experts::Matrix experts::Expert::*member) {
    if (placement_.owner(slot.expert) == rank_) {
      matrix(slot, held(slot.layer, slot.expert).*member, expert_type_);
    }
  }
  void fused_gate_up(const TensorSlot& slot) {
    const auto [hidden, width] = hidden_and_width();
    for (const ExpertId e : placement_.held_by(rank_)) {
      const std::int64_t first = e.value * 2 * width * hidden;
      experts::Expert& expert = held(slot.layer, e);
      expert.gate = experts::Matrix(width, hidden, expert_type_);
      expert.up = experts::Matrix(width, hidden, expert_type_);
      part(slot, first, expert.gate);
      part(slot, first + width * hidden, expert.up);
    }
  }
  void fused_down(const TensorSlot& slot) {
    const auto [hidden, width] = hidden_and_width();
    for (const ExpertId e : placement_.held_by(rank_)) {
      experts::Matrix& down = held(slot.layer, e).down;
      down = experts::Matrix(hidden, width, expert_type_);
      part(slot, e.value * hidden * width, down);
    }
  }

  experts::Expert& held(std::int64_t layer, ExpertId e) {
    return plan_.weights.layers[size(layer)].experts[placement_.local(e).at()];
  }
  std::pair<std::int64_t, std::int64_t> hidden_and_width() const {
    return {checkpoint_.config.hidden, checkpoint_.config.expert_width};
  }

  const Checkpoint::Impl& checkpoint_;
  const cluster::Placement& placement_;
  Rank rank_;
  experts::WeightType expert_type_;
  LoadPlan plan_;  // the experts that transfers point to stay where they are when it is moved
};

}  // namespace

LoadPlan plan_load(const Checkpoint::Impl& checkpoint, const cluster::Placement& placement, Rank rank, experts::WeightType expert_type) {
  return Planner(checkpoint, placement, rank, expert_type).plan();
}

std::vector<Transfer> cut_into_pieces(const std::vector<Transfer>& transfers, std::uint64_t max_bytes) {
  std::vector<Transfer> pieces;
  for (const Transfer& whole : transfers) {
    auto step = static_cast<std::int64_t>(max_bytes / bytes_of(whole.type));
    if (whole.quantised != nullptr) {
      const std::int64_t panel = experts::kPanelRows * whole.quantised->cols();
      step = std::max<std::int64_t>(1, step / panel) * panel;
    }
    for (std::int64_t done = 0; done < whole.num_elements; done += step) {
      Transfer piece = whole;
      piece.begin += static_cast<std::uint64_t>(done) * bytes_of(whole.type);
      piece.first_element += done;
      piece.num_elements = std::min(step, whole.num_elements - done);
      piece.matrix = whole.matrix == nullptr ? nullptr : whole.matrix + done;
      piece.norm = whole.norm == nullptr ? nullptr : whole.norm + done;
      piece.first_of_matrix += done;
      pieces.push_back(std::move(piece));
    }
  }
  std::sort(pieces.begin(), pieces.end(), [](const Transfer& a, const Transfer& b) {
    return a.file == b.file ? a.begin < b.begin : a.file->file.path() < b.file->file.path();
  });
  return pieces;
}

}  // namespace unmask::runtime
