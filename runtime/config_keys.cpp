// SPDX-License-Identifier: Apache-2.0
#include "runtime/config_keys.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

namespace unmask::runtime {
namespace {

using nlohmann::json;

bool is_number(const json& v, double wanted) { return v.is_number() && v.get<double>() == wanted; }
template <class... Names>
bool is_one_of(const json& v, const Names&... names) {
  return v.is_null() || (v.is_string() && ((v.get_ref<const std::string&>() == names) || ...));
}

bool none(const json& v) { return v.is_null(); }
bool off(const json& v) { return v.is_null() || v == json(false); }
bool on(const json& v) { return v.is_null() || v == json(true); }
bool zero(const json& v) { return off(v) || is_number(v, 0); }
bool one(const json& v) { return v.is_null() || is_number(v, 1); }
bool zero_or_one(const json& v) { return v.is_null() || is_number(v, 0) || is_number(v, 1); }
bool vacant(const json& v) { return v.is_null() || (v.is_structured() && v.empty()); }
bool silu(const json& v) { return is_one_of(v, "silu", "swish"); }
bool softmax(const json& v) { return is_one_of(v, "softmax"); }
bool greedy(const json& v) { return is_one_of(v, "greedy"); }
bool rotary(const json& v) { return is_one_of(v, "rope", "rotary"); }
bool rms(const json& v) { return is_one_of(v, "rms", "rmsnorm", "rms_norm", "RMSNorm"); }

bool full_attention(const json& v) {
  return v.is_null() ||
         (v.is_array() && std::all_of(v.begin(), v.end(), [](const json& e) { return e == json("full_attention"); }));
}

/// Absent, or an object that says no more than "default": the older and the newer name of the same field.
bool unscaled_rope(const json& v) {
  if (!v.is_object()) {
    return v.is_null();
  }
  return std::all_of(v.items().begin(), v.items().end(), [](const auto& item) {
    return (item.key() == "rope_type" || item.key() == "type") && item.value() == json("default");
  });
}

constexpr std::string_view kNull = "null";
constexpr std::string_view kOff = "false or null";
constexpr std::string_view kOn = "true or null";
constexpr std::string_view kZero = "0 or null";
constexpr std::string_view kOne = "1 or null";
constexpr std::string_view kZeroOrOne = "0, 1 or null";
constexpr std::string_view kVacant = "an empty list or null";

/// Keys of LLaDA-MoE's own configuration first, then those that its relatives and other Hugging Face models use for features
/// that a converted or edited checkpoint might ask for.
constexpr auto kNeutralKeys = std::to_array<NeutralKey>({
    {"attention_bias", off, kOff},
    {"clip_qkv", none, kNull},
    {"hidden_act", silu, "\"silu\""},
    {"moe_router_enable_expert_bias", off, kOff},
    {"moe_router_score_function", softmax, "\"softmax\""},
    {"partial_rotary_factor", one, kOne},
    {"rope_scaling", unscaled_rope, "null (no scaling)"},
    {"routed_scaling_factor", one, kOne},
    {"router_num_group", zero_or_one, kZeroOrOne},
    {"router_topk_group", zero_or_one, kZeroOrOne},
    {"shared_expert_intermediate_size", zero, kZero},
    {"tie_word_embeddings", off, kOff},

    // biases
    {"add_qkv_bias", off, kOff},
    {"attention_out_bias", off, kOff},
    {"attention_qkv_bias", off, kOff},
    {"bias", off, kOff},
    {"include_bias", off, kOff},
    {"include_qkv_bias", off, kOff},
    {"lm_head_bias", off, kOff},
    {"mlp_bias", off, kOff},
    {"o_bias", off, kOff},
    {"qkv_bias", off, kOff},
    {"use_bias", off, kOff},
    {"use_qkv_bias", off, kOff},

    // router and experts
    {"capacity_factor", none, kNull},
    {"decoder_sparse_step", one, kOne},
    {"expert_capacity", none, kNull},
    {"first_k_dense_replace", zero, kZero},
    {"interleave_moe_layer_step", one, kOne},
    {"mlp_only_layers", vacant, kVacant},
    {"moe_router_num_groups", zero_or_one, kZeroOrOne},
    {"moe_router_group_topk", zero_or_one, kZeroOrOne},
    {"moe_router_pre_softmax", on, kOn},
    {"moe_router_topk_scaling_factor", one, kOne},
    {"moe_router_use_sigmoid", off, kOff},
    {"moe_shared_expert_intermediate_size", zero, kZero},
    {"n_group", zero_or_one, kZeroOrOne},
    {"n_shared_experts", zero, kZero},
    {"num_dense_layers", zero, kZero},
    {"num_expert_group", zero_or_one, kZeroOrOne},
    {"num_nextn_predict_layers", zero, kZero},
    {"num_shared_experts", zero, kZero},
    {"route_scale", one, kOne},
    {"router_bias", off, kOff},
    {"router_scaling_factor", one, kOne},
    {"score_function", softmax, "\"softmax\""},
    {"scoring_func", softmax, "\"softmax\""},
    {"swiglu_limit", none, kNull},
    {"topk_group", zero_or_one, kZeroOrOne},
    {"topk_method", greedy, "\"greedy\""},
    {"use_expert_bias", off, kOff},
    {"use_router_bias", off, kOff},
    {"zero_expert_num", zero, kZero},

    // attention
    {"add_cross_attention", off, kOff},
    {"alibi", off, kOff},
    {"attention_chunk_size", none, kNull},
    {"attention_multiplier", none, kNull},
    {"attention_output_gate", off, kOff},
    {"attn_logit_softcapping", none, kNull},
    {"attn_output_gate", off, kOff},
    {"dual_chunk_attention_config", none, kNull},
    {"is_causal", off, kOff},
    {"is_decoder", off, kOff},
    {"is_encoder_decoder", off, kOff},
    {"kv_lora_rank", none, kNull},
    {"layer_types", full_attention, "all \"full_attention\""},
    {"multi_query_attention", off, kOff},
    {"no_rope_layers", vacant, kVacant},
    {"position_embedding_type", rotary, "\"rope\""},
    {"pruned_heads", vacant, "empty or null"},
    {"q_lora_rank", none, kNull},
    {"qk_nope_head_dim", none, kNull},
    {"qk_rope_head_dim", none, kNull},
    {"rope", on, kOn},
    {"rope_interleave", off, kOff},
    {"rope_interleaved", off, kOff},
    {"rope_local_base_freq", none, kNull},
    {"rotary_pct", one, kOne},
    {"use_alibi", off, kOff},
    {"use_bidirectional_attention", on, kOn},
    {"use_gated_attention", off, kOff},
    {"use_qk_l2_norm", off, kOff},
    {"use_rope", on, kOn},
    {"use_sliding_window", off, kOff},

    // norms, residuals, embedding and head
    {"activation_function", silu, "\"silu\""},
    {"activation_type", silu, "\"silu\""},
    {"embedding_multiplier", one, kOne},
    {"final_logit_softcapping", none, kNull},
    {"hidden_activation", silu, "\"silu\""},
    {"input_emb_norm", off, kOff},
    {"layer_norm_type", rms, "\"rms\""},
    {"logit_scale", one, kOne},
    {"logits_scaling", one, kOne},
    {"norm_after", off, kOff},
    {"norm_type", rms, "\"rms\""},
    {"parallel_attn", off, kOff},
    {"residual_multiplier", one, kOne},
    {"sandwich_norm", off, kOff},
    {"scale_emb", one, kOne},
    {"scale_logits", off, kOff},
    {"shift_logits", off, kOff},
    {"use_parallel_residual", off, kOff},
    {"weight_tying", off, kOff},

    // other storage, other networks around this one
    {"audio_config", none, kNull},
    {"compression_config", none, kNull},
    {"quantization", none, kNull},
    {"quantization_config", none, kNull},
    {"text_config", none, kNull},
    {"vision_config", none, kNull},
});

constexpr auto kIgnoredKeys = std::to_array<std::string_view>({
    // bookkeeping
    "_attn_implementation", "_attn_implementation_autoset", "_commit_hash", "_name_or_path", "attn_implementation", "auto_map",
    "chunk_size_feed_forward", "dtype", "finetuning_task", "id2label", "label2id", "model_type", "output_attentions",
    "output_hidden_states", "output_router_logits", "prefix", "problem_type", "return_dict", "task_specific_params",
    "tokenizer_class", "torch_dtype", "torchscript", "transformers_version", "use_bfloat16", "use_cache",
    // training
    "attention_dropout", "embedding_dropout", "hidden_dropout", "initializer_range", "pretraining_tp", "residual_dropout",
    "router_aux_loss_coef", "router_jitter_noise", "router_z_loss_coef", "z_loss_coef",
    // tokens that no forward pass looks at
    "bos_token_id", "decoder_start_token_id", "pad_token_id", "sep_token_id", "unk_token_id",
    // sampling defaults, which belong into generation_config.json
    "bad_words_ids", "begin_suppress_tokens", "diversity_penalty", "do_sample", "early_stopping",
    "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id",
    "length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups", "num_beams",
    "num_return_sequences", "output_scores", "remove_invalid_values", "repetition_penalty", "return_dict_in_generate",
    "suppress_tokens", "temperature", "top_k", "top_p", "typical_p",
    // of a dense layer, which no layer is, and of a sliding window, which is refused
    "dense_intermediate_size", "intermediate_size", "max_window_layers",
});

}  // namespace

std::span<const NeutralKey> neutral_keys() { return kNeutralKeys; }

bool is_ignored_key(std::string_view key) {
  return std::find(kIgnoredKeys.begin(), kIgnoredKeys.end(), key) != kIgnoredKeys.end();
}

}  // namespace unmask::runtime
