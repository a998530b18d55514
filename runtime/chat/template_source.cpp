// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/template_source.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "runtime/chat/limits.h"
#include "runtime/input_file.h"
#include "runtime/strict_json.h"

namespace unmask::runtime::chat {
namespace {

using Json = nlohmann::json;

/// Nothing where there is no such file.
std::optional<std::string> read_if_there(const ModelFiles& files, std::string_view name, std::uint64_t max_bytes) {
  return files.has(name) ? std::optional(files.read(name, max_bytes)) : std::nullopt;
}

Json parse_config(const std::string& text, const std::string& name) {
  Json config = parse_json_strictly(text, name, kMaxSideFileBytes);
  require(config.is_object(), ExitCode::kBadInput, "{}: a JSON object expected, found {}", name, describe(config));
  return config;
}

/// A special token is a string or an object with its text as "content".
std::optional<std::string> token_text(const Json& config, const char* key, const std::string& name) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) {
    return std::nullopt;
  }
  const Json* text = &*found;
  if (found->is_object() && found->contains("content")) {
    text = &found->at("content");
  }
  require(text->is_string(), ExitCode::kBadInput, "{}: {} must be a string or an object with a string \"content\", found {}", name, key,
          found->type_name());
  return text->get<std::string>();
}

/// chat_template: a string, or a list of {"name", "template"} of which "default" counts.
std::optional<std::string> template_text(const Json& config, const std::string& name) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) {
    return std::nullopt;
  }
  if (found->is_string()) {
    return found->get<std::string>();
  }
  require(found->is_array(), ExitCode::kBadInput, "{}: chat_template must be a string or a list, found {}", name, found->type_name());
  for (const Json& entry : *found) {
    const bool well_formed = entry.is_object() && entry.contains("name") && entry["name"].is_string() && entry.contains("template") &&
                             entry["template"].is_string();
    require(well_formed, ExitCode::kBadInput, "{}: each entry of the list chat_template needs the strings \"name\" and \"template\"", name);
    if (entry["name"] == "default") {
      return entry["template"].get<std::string>();
    }
  }
  fail(ExitCode::kBadInput, "{}: the list chat_template has no entry named \"default\"", name);
}

}  // namespace

std::optional<TemplateSource> read_template_source(const ModelFiles& files) {
  constexpr std::string_view kJinja = "chat_template.jinja", kConfig = "tokenizer_config.json";
  const std::string config_name = files.name_of(kConfig);
  TemplateSource source;
  std::optional<std::string> text = read_if_there(files, kJinja, Limits().template_bytes);
  source.name = files.name_of(kJinja);
  if (const auto json = read_if_there(files, kConfig, kMaxSideFileBytes)) {
    const Json config = parse_config(*json, config_name);
    for (const char* key : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
      if (auto token = token_text(config, key, config_name)) {
        source.special_tokens.emplace_back(key, *std::move(token));
      }
    }
    if (!text) {
      text = template_text(config, config_name);
      source.name = config_name;
    }
  }
  if (!text) {
    return std::nullopt;
  }
  source.text = *std::move(text);
  return source;
}

}  // namespace unmask::runtime::chat
