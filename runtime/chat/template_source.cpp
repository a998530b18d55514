// SPDX-License-Identifier: Apache-2.0
#include "runtime/chat/template_source.h"

#include <fstream>
#include <iterator>
#include <set>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "runtime/chat/limits.h"

namespace unmask::runtime::chat {
namespace {

using Json = nlohmann::json;

std::optional<std::string> read_file(const std::filesystem::path& file, std::size_t max_bytes) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return std::nullopt;
  }
  require(std::filesystem::is_regular_file(file, error), ExitCode::kBadInput, "{}: a regular file expected", file.string());
  const auto bytes = std::filesystem::file_size(file, error);
  require(!error && bytes <= max_bytes, ExitCode::kBadInput, "{}: at most {} bytes expected, found {}", file.string(), max_bytes,
          error ? error.message() : std::to_string(bytes));
  std::ifstream stream(file, std::ios::binary);
  std::string text(static_cast<std::size_t>(bytes), '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  require(stream.good() || (stream.eof() && stream.gcount() == static_cast<std::streamsize>(text.size())), ExitCode::kBadInput,
          "{}: cannot be read", file.string());
  return text;
}

/// Refuses what nlohmann would accept silently: deep nesting and keys given twice.
class Guard {
 public:
  explicit Guard(std::string name) : name_(std::move(name)) {}

  bool operator()(int depth, Json::parse_event_t event, const Json& value) {
    require(depth <= kMaxJsonDepth, ExitCode::kBadInput, "{}: nesting of at most {} expected", name_, kMaxJsonDepth);
    if (event == Json::parse_event_t::object_start) {
      keys_.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys_.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      require(keys_.back().insert(key).second, ExitCode::kBadInput, "{}: the key \"{}\" is given twice", name_, key);
    }
    return true;
  }

 private:
  std::string name_;
  std::vector<std::set<std::string>> keys_;
};

Json parse_config(const std::string& text, const std::string& name) {
  try {
    Guard guard(name);
    Json config = Json::parse(text, [&guard](int depth, Json::parse_event_t event, Json& value) { return guard(depth, event, value); });
    require(config.is_object(), ExitCode::kBadInput, "{}: a JSON object expected, found {}", name, config.type_name());
    return config;
  } catch (const Json::exception& error) {
    fail(ExitCode::kBadInput, "{}: JSON expected: {}", name, error.what());
  }
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

std::optional<TemplateSource> read_template_source(const std::filesystem::path& folder) {
  constexpr std::size_t kMaxConfigBytes = std::size_t{64} << 20;
  const std::filesystem::path jinja = folder / "chat_template.jinja";
  const std::filesystem::path config_file = folder / "tokenizer_config.json";
  const std::string config_name = config_file.string();
  TemplateSource source;
  std::optional<std::string> text = read_file(jinja, Limits().template_bytes);
  source.name = jinja.string();
  if (const auto json = read_file(config_file, kMaxConfigBytes)) {
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
