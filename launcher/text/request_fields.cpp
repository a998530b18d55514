// SPDX-License-Identifier: Apache-2.0
#include "launcher/text/request_fields.h"

#include <limits>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "runtime/strict_json.h"

namespace unmask::launcher {

using nlohmann::json;

void bad(std::string_view key, std::string_view expected, const json& found) {
  fail(ExitCode::kBadInput, "{}: expected {}, found {}", key, expected, runtime::describe(found));
}

namespace {

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
    case ValueKind::kChoices:
    case ValueKind::kText:
      break;
  }
  if (!value.is_string()) {
    bad(key, spec.repeat == Repeat::kCollects ? "a string or an array of strings" : "a string", value);
  }
  return value.get<std::string>();
}

}  // namespace

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

}  // namespace unmask::launcher
