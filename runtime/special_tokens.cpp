// SPDX-License-Identifier: Apache-2.0
#include "runtime/special_tokens.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "runtime/strict_json.h"

namespace unmask::runtime {
namespace {

using nlohmann::json;

json read_object(const ModelFiles& files, std::string_view name) {
  if (!files.has(name)) {
    return json::object();
  }
  json object = parse_json_strictly(files.read(name, kMaxSideFileBytes), files.name_of(name), kMaxSideFileBytes);
  require(object.is_object(), ExitCode::kBadInput, "{}: expected a JSON object, found {}", files.name_of(name), describe(object));
  return object;
}

void require_in_vocabulary(std::int64_t token, const ModelConfig& config, std::string_view what) {
  require(token >= 0 && token < config.vocab_size, ExitCode::kBadInput, "{}: expected a token from 0 to {}, found {}", what,
          config.vocab_size - 1, token);
}

/// eos_token_id of generation_config.json: a number or a list of numbers.
std::vector<TokenId> generation_ends(const ModelFiles& files, const ModelConfig& config) {
  constexpr std::string_view kName = "generation_config.json";
  const json all = read_object(files, kName);
  const auto value = all.find("eos_token_id");
  if (value == all.end() || value->is_null()) {
    return {};
  }
  const std::string what = files.name_of(kName) + ": eos_token_id";
  std::vector<TokenId> ends;
  for (const json& id : value->is_array() ? *value : json::array({*value})) {
    require(id.is_number_integer(), ExitCode::kBadInput, "{}: expected a whole number or a list of them, found {}", what,
            describe(id));
    const auto token = id.is_number_unsigned() && id.get<std::uint64_t>() > std::uint64_t{1} << 40 ? std::int64_t{1} << 40
                                                                                                    : id.get<std::int64_t>();
    require_in_vocabulary(token, config, what);
    ends.push_back(static_cast<TokenId>(token));
  }
  return ends;
}

/// A token that tokenizer_config.json names, as text or as {"content": text}.
std::optional<TokenId> named_token(const json& tokenizer_config, const char* key, const Tokenizer* tokenizer) {
  const auto value = tokenizer_config.find(key);
  if (tokenizer == nullptr || value == tokenizer_config.end()) {
    return std::nullopt;
  }
  const json content = value->is_object() ? value->value("content", json()) : *value;
  return content.is_string() ? tokenizer->id_of(content.get<std::string>()) : std::nullopt;
}

std::optional<TokenId> find_mask(const ModelConfig& config, const json& tokenizer_config,
                                 const Tokenizer* tokenizer) {
  if (config.mask_token) {
    return config.mask_token;
  }
  if (const auto named = named_token(tokenizer_config, "mask_token", tokenizer)) {
    return named;
  }
  for (const char* text : {"<|mask|>", "<|mdm_mask|>"}) {
    if (const auto id = tokenizer != nullptr ? tokenizer->id_of(text) : std::nullopt) {
      return id;
    }
  }
  return std::nullopt;
}

}  // namespace

SpecialTokens find_special_tokens(const ModelFiles& files, const ModelConfig& config,
                                  const Tokenizer* tokenizer, std::optional<TokenId> mask_option) {
  const json tokenizer_config = read_object(files, "tokenizer_config.json");
  const auto mask = mask_option ? mask_option : find_mask(config, tokenizer_config, tokenizer);
  require(mask.has_value(), ExitCode::kBadInput,
          "{}: expected a mask token (mask_token_id in config.json, mask_token in tokenizer_config.json, or <|mask|> or <|mdm_mask|> "
          "in tokenizer.json), found none; give it with --mask-token-id",
          files.path().string());
  require_in_vocabulary(*mask, config, "mask token");

  SpecialTokens out{.mask = *mask, .ends = generation_ends(files, config)};
  out.ends.insert(out.ends.end(), config.eos_tokens.begin(), config.eos_tokens.end());
  // A tokenizer may have more tokens than the network: those can never be the end of an answer.
  const auto add_if_known = [&](std::optional<TokenId> id) {
    if (id && *id < config.vocab_size) {
      out.ends.push_back(*id);
    }
  };
  add_if_known(named_token(tokenizer_config, "eos_token", tokenizer));
  for (const char* end_of_turn : {"<|role_end|>", "<|eot_id|>", "<|im_end|>"}) {
    const auto id = tokenizer != nullptr ? tokenizer->id_of(end_of_turn) : std::nullopt;
    if (id && tokenizer->is_special(*id)) {
      add_if_known(id);
    }
  }
  std::vector<TokenId> unique;
  for (const TokenId id : out.ends) {
    require_in_vocabulary(id, config, "end token");
    if (std::ranges::count(unique, id) == 0) {
      unique.push_back(id);
    }
  }
  out.ends = std::move(unique);
  return out;
}

}  // namespace unmask::runtime
