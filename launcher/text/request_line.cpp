// SPDX-License-Identifier: Apache-2.0
#include "launcher/text/request_line.h"

#include <charconv>

#include <nlohmann/json.hpp>

#include "launcher/io/line_reader.h"
#include "runtime/strict_json.h"

namespace unmask::launcher {
namespace {

using nlohmann::json;

[[noreturn]] void bad(std::string_view key, std::string_view expected, const json& found) {
  fail(ExitCode::kBadInput, "{}: expected {}, found {}", key, expected, runtime::describe(found));
}

/// The value as the text that the command line would have for it; the JSON type must fit the option.
std::string option_text(const OptionSpec& spec, std::string_view key, const json& value) {
  switch (spec.kind) {
    case ValueKind::kFlag:
    case ValueKind::kOnOff:
      if (!value.is_boolean()) {
        bad(key, "true or false", value);
      }
      return value.get<bool>() ? "on" : "off";
    case ValueKind::kInteger:
      if (!value.is_number_integer()) {
        bad(key, allowed_values(spec), value);
      }
      return value.dump();
    case ValueKind::kReal:
      if (!value.is_number()) {
        bad(key, allowed_values(spec), value);
      }
      return value.dump();
    case ValueKind::kChoice:
    case ValueKind::kText:
      break;
  }
  if (!value.is_string()) {
    bad(key, spec.repeat == Repeat::kCollects ? "a string or an array of strings" : "a string", value);
  }
  return value.get<std::string>();
}

std::vector<std::string> option_texts(const OptionSpec& spec, std::string_view key, const json& value) {
  std::vector<std::string> out;
  if (spec.repeat == Repeat::kCollects && value.is_array()) {
    for (const json& part : value) {
      out.push_back(option_text(spec, key, part));
    }
  } else {
    out.push_back(option_text(spec, key, value));
  }
  for (const std::string& text : out) {
    if (const auto fault = find_fault(spec, text)) {
      fail(ExitCode::kBadInput, "{}: {}", key, *fault);
    }
  }
  return out;
}

void check_messages(std::string_view key, const json& messages) {
  if (!messages.is_array()) {
    bad(key, "an array of messages", messages);
  }
  for (const json& message : messages) {
    for (const char* member : {"role", "content"}) {
      if (!message.is_object() || !message.contains(member) || !message[member].is_string()) {
        bad(key, "objects with the strings \"role\" and \"content\"", message);
      }
    }
  }
}

/// The messages with their members in the order written, which a template may print.
std::string ordered_messages(std::string_view text, const char* member) {
  const auto all = nlohmann::ordered_json::parse(text);
  return all.is_array() ? all.dump() : all[member].dump();
}

std::vector<TokenId> token_array(std::string_view key, const json& value) {
  if (!value.is_array()) {
    bad(key, "an array of token ids", value);
  }
  std::vector<TokenId> out;
  out.reserve(value.size());
  for (const json& id : value) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<TokenId>::max()}) {
      bad(key, "token ids, whole numbers from 0", id);
    }
    out.push_back(id.get<TokenId>());
  }
  return out;
}

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

RequestInput parse_request_line(std::string_view line, std::int64_t number) {
  RequestInput request;
  request.id = std::to_string(number);
  request.id_json = '"' + request.id + '"';
  try {
    const std::string name = format("line {}", number);
    const json object = runtime::parse_json_strictly(line, name, LineReader::kLongestLine);
    if (!object.is_object()) {
      bad(name, "a JSON object", object);
    }
    take_id(request, object);
    take_prompt(request, line, object);
    take_options(request, object);
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
