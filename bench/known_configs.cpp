// SPDX-License-Identifier: Apache-2.0
#include "bench/known_configs.h"

#include <string_view>

#include "runtime/input_file.h"

namespace unmask::bench {
namespace {

struct Known {
  std::string_view name;
  std::string_view config;
};

/// What of a published config.json makes the network; in the program, so that a bench needs neither checkpoint nor source.
constexpr Known kKnown[] = {{"llada-moe-7b", R"({
  "architectures": ["LLaDAMoEModel"],
  "eos_token_id": 156892,
  "expert_intermediate_size": 1024,
  "hidden_act": "silu",
  "hidden_size": 2048,
  "max_position_embeddings": 8192,
  "model_type": "llada",
  "norm_topk_prob": null,
  "num_attention_heads": 16,
  "num_experts": 64,
  "num_experts_per_tok": 8,
  "num_hidden_layers": 16,
  "num_key_value_heads": 16,
  "qk_layernorm": true,
  "rms_norm_eps": 1e-05,
  "rope_theta": 50000,
  "tie_word_embeddings": false,
  "vocab_size": 157184
})"}};

}  // namespace

runtime::ModelConfig bench_config(const std::string& name_or_file) {
  for (const Known& known : kKnown) {
    if (name_or_file == known.name) {
      return runtime::parse_model_config(known.config, known.name);
    }
  }
  return runtime::parse_model_config(runtime::read_text_file(name_or_file, runtime::kMaxConfigBytes), name_or_file);
}

}  // namespace unmask::bench
