// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "runtime/model_files.h"

namespace unmask::runtime {

/// What config.json says of a LLaDA-MoE network, checked: every number lies in a range that later arithmetic can rely on.
struct ModelConfig {
  std::string architecture;  ///< LLaDAMoEModel or LLaDAMoEModelLM
  std::int64_t num_layers = 0;
  std::int64_t hidden = 0;
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t num_experts = 0;
  std::int64_t experts_per_token = 0;
  std::int64_t expert_width = 0;  ///< rows of gate_proj and up_proj
  std::int64_t vocab_size = 0;
  std::int64_t max_positions = 0;
  float rms_norm_eps = 1e-5F;
  double rope_theta = 50000.0;
  bool qk_norm = true;
  bool renormalise_top_k = false;  ///< norm_topk_prob
  std::optional<TokenId> mask_token;
  std::vector<TokenId> eos_tokens;  ///< of config.json; may be empty
  std::vector<std::string> unknown_keys;  ///< present in the file, without known meaning: for one warning

  std::int64_t num_parameters() const;
};

/// The longest config.json that is read.
inline constexpr std::uint64_t kMaxConfigBytes = 4 << 20;

/// Parses the text of a config.json. `name` is used in messages. Throws Error(kBadInput): not JSON, unknown architecture, a
/// missing or absurd number, or a key that would change the forward pass and has a value that is not supported (named).
ModelConfig parse_model_config(std::string_view json, std::string_view name);

/// Reads a model's config.json.
ModelConfig read_model_config(const ModelFiles& files);

}  // namespace unmask::runtime
