// SPDX-License-Identifier: Apache-2.0
#include "launcher/text/request_line.h"

#include <charconv>

#include <nlohmann/json.hpp>

#include "launcher/io/line_reader.h"
#include "launcher/text/request_fields.h"
#include "runtime/strict_json.h"

namespace unmask::launcher {
namespace {

using nlohmann::json;

void take_prompt(RequestInput& request, std::string_view line, const json& object) {
  const int given = int{object.contains("prompt")} + int{object.contains("prompt_tokens")} + int{object.contains("messages")};
  require(given == 1, ExitCode::kBadInput, "expected exactly one of prompt, prompt_tokens and messages, found {}", given);
  if (object.contains("prompt")) {
    if (!object["prompt"].is_string()) {
      bad("prompt", "a string", object["prompt"]);
    }
    request.kind = RequestInput::Kind::kText;
    request.text = object["prompt"].get<std::string>();
  } else if (object.contains("prompt_tokens")) {
    request.kind = RequestInput::Kind::kTokens;
    request.tokens = token_array("prompt_tokens", object["prompt_tokens"]);
  } else {
    check_messages("messages", object["messages"]);
    request.kind = RequestInput::Kind::kMessages;
    request.text = ordered_messages(line, "messages");
  }
}

void take_id(RequestInput& request, const json& object) {
  const auto id = object.find("id");
  if (id == object.end()) {
    return;
  }
  if (!id->is_string() && !id->is_number_integer()) {
    bad("id", "a string or a whole number", *id);
  }
  request.id_json = id->dump();
  request.id = id->is_string() ? id->get<std::string>() : request.id_json;
}

void take_options(RequestInput& request, const json& object) {
  for (const auto& [key, value] : object.items()) {
    if (key == "id" || key == "prompt" || key == "prompt_tokens" || key == "messages") {
      continue;
    }
    const OptionSpec* spec = find_sampling_key(key);
    require(spec != nullptr, ExitCode::kBadInput,
            "unknown key \"{}\": expected id, prompt, prompt_tokens, messages or a sampling option such as gen_length",
            runtime::printable(key));
    request.sampling[std::string(spec->name)] = option_texts(*spec, key, value);
  }
}

}  // namespace

RequestInput named_by_line(std::int64_t number) {
  RequestInput request;
  request.id = std::to_string(number);
  request.id_json = '"' + request.id + '"';
  return request;
}

void take_request(RequestInput& request, std::string_view line, const json& object) {
  take_id(request, object);
  take_prompt(request, line, object);
  take_options(request, object);
}

RequestInput parse_request_line(std::string_view line, std::int64_t number) {
  RequestInput request = named_by_line(number);
  try {
    const std::string name = format("line {}", number);
    const json object = runtime::parse_json_strictly(line, name, LineReader::kLongestLine);
    if (!object.is_object()) {
      bad(name, "a JSON object", object);
    }
    take_request(request, line, object);
  } catch (const Error& error) {
    request.error = error;
  }
  return request;
}

std::vector<TokenId> parse_token_list(std::string_view list, std::string_view option) {
  std::vector<TokenId> out;
  const auto skip_blanks = [&] { list.remove_prefix(std::min(list.find_first_not_of(" \t"), list.size())); };
  skip_blanks();
  while (!list.empty()) {
    TokenId id = -1;
    const auto [end, error] = std::from_chars(list.data(), list.data() + list.size(), id);
    require(error == std::errc() && id >= 0, ExitCode::kUsage, "{}: expected token ids separated by commas, found '{}'", option,
            runtime::printable(list));
    out.push_back(id);
    list.remove_prefix(static_cast<std::size_t>(end - list.data()));
    skip_blanks();
    if (!list.empty()) {
      require(list.front() == ',' && list.size() > 1, ExitCode::kUsage, "{}: expected a comma and a token id, found '{}'", option,
              runtime::printable(list));
      list.remove_prefix(1);
      skip_blanks();
      require(!list.empty(), ExitCode::kUsage, "{}: expected a token id after the last comma", option);
    }
  }
  return out;
}

std::vector<TokenId> parse_token_array(std::string_view text, std::string_view name) {
  return token_array(name, runtime::parse_json_strictly(text, name, LineReader::kLongestLine));
}

std::string parse_messages(std::string_view text, std::string_view name) {
  const json all = runtime::parse_json_strictly(text, name, LineReader::kLongestLine);
  const bool wrapped = all.is_object() && all.contains("messages");
  check_messages(name, wrapped ? all["messages"] : all);
  return ordered_messages(text, "messages");
}

}  // namespace unmask::launcher
