// SPDX-License-Identifier: Apache-2.0
#include "runtime/model_config.h"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "base/checked_math.h"
#include "base/error.h"
#include "runtime/config_keys.h"
#include "runtime/config_reader.h"
#include "runtime/input_file.h"
#include "runtime/strict_json.h"

namespace unmask::runtime {
namespace {

using nlohmann::json;

constexpr std::int64_t kMaxWidth = 1 << 20;       // of hidden, heads * head_dim, an expert
constexpr std::int64_t kMaxExpertsOfAll = 1 << 22;  // layers * experts
constexpr std::uint64_t kMaxParameters = std::uint64_t{1} << 48;

constexpr auto kArchitectures = std::to_array<std::string_view>({"LLaDAMoEModel", "LLaDAMoEModelLM"});

std::string read_architecture(ConfigReader& reader) {
  const json* names = reader.find("architectures");
  const bool is_one_name = names != nullptr && names->is_array() && names->size() == 1 && names->front().is_string();
  const std::string found = is_one_name ? names->front().get<std::string>() : "";
  require(std::find(kArchitectures.begin(), kArchitectures.end(), found) != kArchitectures.end(), ExitCode::kBadInput,
          "{}: architectures is {}: this program runs {}", reader.name(),
          names == nullptr ? "missing" : is_one_name ? describe(names->front()) : describe(*names),
          fmt::join(kArchitectures, " and "));
  return found;
}

void read_shape(ConfigReader& reader, ModelConfig& config) {
  config.num_layers = reader.integer("num_hidden_layers", 1, 4096);
  config.hidden = reader.integer("hidden_size", 1, kMaxWidth);
  config.num_heads = reader.integer("num_attention_heads", 1, 1 << 16);
  config.num_kv_heads = reader.integer_or("num_key_value_heads", config.num_heads, 1, config.num_heads);
  config.num_experts = reader.integer("num_experts", 1, 1 << 16);
  config.experts_per_token = reader.integer("num_experts_per_tok", 1, config.num_experts);
  config.expert_width = reader.integer("expert_intermediate_size", 1, kMaxWidth);
  config.vocab_size = reader.integer("vocab_size", 2, 1 << 26);  // a mask, and a token to take its place
  config.max_positions = reader.integer_or("max_position_embeddings", 8192, 1, 1 << 26);
  require(config.num_heads % config.num_kv_heads == 0, ExitCode::kBadInput,
          "{}: num_attention_heads is {}: expected a multiple of num_key_value_heads, which is {}", reader.name(),
          config.num_heads, config.num_kv_heads);

  config.head_dim = reader.integer_or("head_dim", 0, 2, 1 << 16);
  if (config.head_dim == 0) {
    require(config.hidden % config.num_heads == 0, ExitCode::kBadInput,
            "{}: hidden_size is {}: expected a multiple of num_attention_heads, which is {}, as head_dim is not given",
            reader.name(), config.hidden, config.num_heads);
    config.head_dim = config.hidden / config.num_heads;
  }
  require(config.head_dim % 2 == 0, ExitCode::kBadInput,
          "{}: head_dim is {}: expected an even number, as rotary positions turn pairs", reader.name(), config.head_dim);
  require(config.num_heads * config.head_dim <= kMaxWidth, ExitCode::kBadInput,
          "{}: num_attention_heads * head_dim is {}: at most {} is accepted", reader.name(), config.num_heads * config.head_dim,
          kMaxWidth);
}

/// The whole network's size, with every product checked.
void check_size(const ConfigReader& reader, const ModelConfig& config) {
  const std::int64_t all_experts = config.num_layers * config.num_experts;
  require(all_experts <= kMaxExpertsOfAll, ExitCode::kBadInput,
          "{}: num_hidden_layers * num_experts is {}: at most {} is accepted", reader.name(), all_experts, kMaxExpertsOfAll);
  // 2^22 experts of 3 * 2^20 * 2^20 overflow; all other terms of num_parameters() stay below 2^60.
  const auto expert_parameters = checked_mul(static_cast<std::uint64_t>(all_experts),
                                             static_cast<std::uint64_t>(3 * config.hidden * config.expert_width));
  require(expert_parameters && *expert_parameters <= kMaxParameters &&
              static_cast<std::uint64_t>(config.num_parameters()) <= kMaxParameters,
          ExitCode::kBadInput, "{}: the sizes give more than {} parameters", reader.name(), kMaxParameters);
}

void read_rope(ConfigReader& reader, ModelConfig& config) {
  constexpr double kMaxTheta = 1e15;
  config.rope_theta = reader.number_or("rope_theta", config.rope_theta, 1e-3, kMaxTheta);
  const json* newer = reader.find("rope_parameters");  // where later versions of transformers keep it
  if (newer == nullptr) {
    return;
  }
  require(newer->is_object(), ExitCode::kBadInput, "{}: rope_parameters is {}: expected an object", reader.name(),
          describe(*newer));
  for (const auto& [key, value] : newer->items()) {
    const bool is_neutral = key == "rope_theta" || value.is_null() ||
                            ((key == "rope_type" || key == "type") && value == json("default")) ||
                            (key == "partial_rotary_factor" && value == json(1.0));
    require(is_neutral, ExitCode::kBadInput,
            "{}: rope_parameters.{} is {}: only rope_type \"default\" over the whole head is supported", reader.name(),
            printable(key), describe(value));
  }
  ConfigReader inner(*newer, reader.name());
  const bool is_given_twice = reader.object().contains("rope_theta") && inner.object().contains("rope_theta");
  const double theta = inner.number_or("rope_theta", config.rope_theta, 1e-3, kMaxTheta);
  require(!is_given_twice || theta == config.rope_theta, ExitCode::kBadInput,
          "{}: rope_theta is {}, but rope_parameters.rope_theta is {}", reader.name(), config.rope_theta, theta);
  config.rope_theta = theta;
}

/// Every layer must be a mixture of experts: a 0 would make it dense.
void check_layer_kinds(ConfigReader& reader, const ModelConfig& config) {
  const json* kinds = reader.find("moe_layer_freq");
  if (kinds == nullptr || *kinds == json(1)) {
    return;
  }
  require(kinds->is_array() && std::ssize(*kinds) == config.num_layers, ExitCode::kBadInput,
          "{}: moe_layer_freq is {}: expected a list of {}, one number a layer", reader.name(), describe(*kinds),
          config.num_layers);
  for (std::size_t layer = 0; layer < kinds->size(); ++layer) {
    require((*kinds)[layer] == json(1), ExitCode::kBadInput,
            "{}: moe_layer_freq[{}] is {}: only 1 is supported (a mixture of experts in every layer; dense layers are not)",
            reader.name(), layer, describe((*kinds)[layer]));
  }
}

/// A window is configured by two keys, of which the switch may be off while the width still stands there.
void check_window(ConfigReader& reader) {
  const json* window = reader.find("sliding_window");
  const auto& all = reader.object();
  const bool is_off = window == nullptr || *window == json(0) || *window == json(false) ||
                      (all.contains("use_sliding_window") && all["use_sliding_window"] == json(false));
  require(is_off, ExitCode::kBadInput, "{}: sliding_window is {}: only null is supported (full attention)", reader.name(),
          window == nullptr ? "" : describe(*window));
}

/// Other names of what we have read already: harmless when they say the same.
void check_synonyms(ConfigReader& reader, const ModelConfig& config) {
  struct Synonym {
    std::string_view key;
    double value;
    std::string_view of;
  };
  const auto as_double = [](std::int64_t value) { return static_cast<double>(value); };
  for (const auto& [key, value, of] : std::to_array<Synonym>({
           {"embedding_size", as_double(config.vocab_size), "vocab_size"},
           {"moe_intermediate_size", as_double(config.expert_width), "expert_intermediate_size"},
           {"moe_topk", as_double(config.experts_per_token), "num_experts_per_tok"},
           {"n_routed_experts", as_double(config.num_experts), "num_experts"},
           {"num_local_experts", as_double(config.num_experts), "num_experts"},
           {"qk_norm", config.qk_norm ? 1.0 : 0.0, "qk_layernorm"},
           {"query_pre_attn_scalar", as_double(config.head_dim), "head_dim"},
           {"rope_base", config.rope_theta, "rope_theta"},
           {"rotary_dim", as_double(config.head_dim), "head_dim"},
           {"use_qk_norm", config.qk_norm ? 1.0 : 0.0, "qk_layernorm"},
           {"v_head_dim", as_double(config.head_dim), "head_dim"},
       })) {
    const json* found = reader.find(key);
    const bool agrees = found == nullptr || (found->is_number() && found->get<double>() == value) ||
                        (found->is_boolean() && (found->get<bool>() ? 1.0 : 0.0) == value);
    require(agrees, ExitCode::kBadInput, "{}: {} is {}: expected {}, as {} says", reader.name(), key,
            found == nullptr ? "" : describe(*found), value, of);
  }
}

void read_tokens(ConfigReader& reader, ModelConfig& config) {
  const auto token = [&](const json& value, std::string_view key) {
    return narrow<TokenId>(reader.to_integer(value, key, 0, config.vocab_size - 1));
  };
  if (const json* mask = reader.find("mask_token_id")) {
    config.mask_token = token(*mask, "mask_token_id");
  }
  if (const json* eos = reader.find("eos_token_id"); eos != nullptr && eos->is_array()) {
    for (const json& one : *eos) {
      config.eos_tokens.push_back(token(one, "eos_token_id"));
    }
  } else if (eos != nullptr) {
    config.eos_tokens.push_back(token(*eos, "eos_token_id"));
  }
}

void check_other_keys(ConfigReader& reader, ModelConfig& config) {
  for (const auto& [key, is_neutral, expected] : neutral_keys()) {
    const json* value = reader.find(key);
    require(value == nullptr || is_neutral(*value), ExitCode::kBadInput,
            "{}: {} is {}: only {} is supported, anything else would change the network", reader.name(), key,
            value == nullptr ? "" : describe(*value), expected);
  }
  for (const auto& [key, value] : reader.object().items()) {
    if (!reader.was_used(key) && !is_ignored_key(key)) {
      config.unknown_keys.push_back(printable(key));
    }
  }
}

}  // namespace

std::int64_t ModelConfig::num_parameters() const {
  const std::int64_t attention = 2 * (num_heads + num_kv_heads) * head_dim * hidden + (qk_norm ? 2 * head_dim : 0);
  const std::int64_t experts = num_experts * (3 * hidden * expert_width + hidden);  // with the router's row
  return 2 * vocab_size * hidden + hidden + num_layers * (attention + experts + 2 * hidden);
}

ModelConfig parse_model_config(std::string_view text, std::string_view name) {
  const json object = parse_json_strictly(text, name, kMaxConfigBytes);
  require(object.is_object(), ExitCode::kBadInput, "{}: expected a JSON object, found {}", name, describe(object));
  ConfigReader reader(object, name);
  ModelConfig config;
  config.architecture = read_architecture(reader);
  read_shape(reader, config);
  config.rms_norm_eps = static_cast<float>(reader.number_or("rms_norm_eps", config.rms_norm_eps, 0, 1));
  config.qk_norm = reader.boolean_or("qk_layernorm", config.qk_norm);
  config.renormalise_top_k = reader.boolean_or("norm_topk_prob", config.renormalise_top_k);
  check_size(reader, config);
  read_rope(reader, config);
  check_layer_kinds(reader, config);
  check_window(reader);
  check_synonyms(reader, config);
  read_tokens(reader, config);
  check_other_keys(reader, config);
  return config;
}

ModelConfig read_model_config(const ModelFiles& files) {
  return parse_model_config(files.read("config.json", kMaxConfigBytes), files.name_of("config.json"));
}

}  // namespace unmask::runtime
