// SPDX-License-Identifier: Apache-2.0
#include "runtime/tensor_slots.h"

#include "base/format.h"

namespace unmask::runtime {
namespace {

using Visit = std::function<void(const TensorSlot&)>;

struct Sizes {
  explicit Sizes(const ModelConfig& config)
      : hidden(static_cast<std::uint64_t>(config.hidden)),
        vocab(static_cast<std::uint64_t>(config.vocab_size)),
        queries(static_cast<std::uint64_t>(config.num_heads * config.head_dim)),
        keys(static_cast<std::uint64_t>(config.num_kv_heads * config.head_dim)),
        head_dim(static_cast<std::uint64_t>(config.head_dim)),
        experts(static_cast<std::uint64_t>(config.num_experts)),
        width(static_cast<std::uint64_t>(config.expert_width)) {}
  std::uint64_t hidden, vocab, queries, keys, head_dim, experts, width;
};

std::string layer_prefix(std::int64_t layer) { return format("model.layers.{}.", layer); }

void visit_attention(const ModelConfig& config, std::int64_t layer, const Visit& visit) {
  const Sizes n(config);
  const auto slot = [&](TensorKind kind, std::string_view name, std::vector<std::uint64_t> shape) {
    visit({kind, layer, {}, format("{}{}.weight", layer_prefix(layer), name), std::move(shape)});
  };
  slot(TensorKind::kInputNorm, "input_layernorm", {n.hidden});
  slot(TensorKind::kQuery, "self_attn.q_proj", {n.queries, n.hidden});
  slot(TensorKind::kKey, "self_attn.k_proj", {n.keys, n.hidden});
  slot(TensorKind::kValue, "self_attn.v_proj", {n.keys, n.hidden});
  slot(TensorKind::kOutput, "self_attn.o_proj", {n.hidden, n.queries});
  if (config.qk_norm) {
    slot(TensorKind::kQNorm, "self_attn.q_norm", {n.head_dim});
    slot(TensorKind::kKNorm, "self_attn.k_norm", {n.head_dim});
  }
  slot(TensorKind::kPostAttentionNorm, "post_attention_layernorm", {n.hidden});
  slot(TensorKind::kRouter, "mlp.gate", {n.experts, n.hidden});
}

void visit_experts(const ModelConfig& config, std::int64_t layer, ExpertForm form, const Visit& visit) {
  const Sizes n(config);
  if (form == ExpertForm::kFused) {
    visit({TensorKind::kFusedGateUp, layer, {}, fused_name(layer), {n.experts, 2 * n.width, n.hidden}});
    visit({TensorKind::kFusedDown, layer, {}, layer_prefix(layer) + "mlp.w2", {n.experts, n.hidden, n.width}});
    return;
  }
  for (ExpertId e(0); e.value < config.num_experts; ++e) {
    visit({TensorKind::kGate, layer, e, expert_tensor_name(TensorKind::kGate, layer, e), {n.width, n.hidden}});
    visit({TensorKind::kUp, layer, e, expert_tensor_name(TensorKind::kUp, layer, e), {n.width, n.hidden}});
    visit({TensorKind::kDown, layer, e, expert_tensor_name(TensorKind::kDown, layer, e), {n.hidden, n.width}});
  }
}

}  // namespace

std::string fused_name(std::int64_t layer) { return layer_prefix(layer) + "mlp.w1"; }

std::string expert_tensor_name(TensorKind kind, std::int64_t layer, ExpertId expert) {
  const std::string_view name = kind == TensorKind::kGate ? "gate" : kind == TensorKind::kUp ? "up" : "down";
  return format("{}mlp.experts.{}.{}_proj.weight", layer_prefix(layer), expert, name);
}

void visit_tensors(const ModelConfig& config, const std::function<ExpertForm(std::int64_t)>& form, const Visit& visit) {
  const Sizes n(config);
  visit({TensorKind::kEmbedding, 0, {}, "model.embed_tokens.weight", {n.vocab, n.hidden}});
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    visit_attention(config, layer, visit);
    visit_experts(config, layer, form(layer), visit);
  }
  visit({TensorKind::kFinalNorm, 0, {}, "model.norm.weight", {n.hidden}});
  visit({TensorKind::kHead, 0, {}, "lm_head.weight", {n.vocab, n.hidden}});
}

}  // namespace unmask::runtime
