// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/json_fields.h"

#include <algorithm>

#include "base/error.h"
#include "runtime/tokenizer/utf8.h"

namespace unmask::runtime::tokenizer {

using nlohmann::json;

Fields::Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
  require(object_.is_object(), ExitCode::kBadInput, "{}: expected an object, found a {}", where_, object_.type_name());
}

const json& Fields::get(const std::string& key) {
  static const json kNull;
  read_.push_back(key);
  const auto found = object_.find(key);
  return found == object_.end() ? kNull : *found;
}

std::string Fields::text(const std::string& key) {
  const json& value = get(key);
  require(value.is_string(), ExitCode::kBadInput, "{}: expected a text as \"{}\", found a {}", where_, key, value.type_name());
  return value.get<std::string>();
}

bool Fields::flag(const std::string& key) {
  const json& value = get(key);
  require(value.is_boolean(), ExitCode::kBadInput, "{}: expected true or false as \"{}\", found a {}", where_, key, value.type_name());
  return value.get<bool>();
}

bool Fields::flag_or(const std::string& key, bool otherwise) { return object_.contains(key) ? flag(key) : otherwise; }

void Fields::finish() const {
  for (const auto& [key, value] : object_.items()) {
    require(std::find(read_.begin(), read_.end(), key) != read_.end(), ExitCode::kBadInput,
            "{}: the key {} is not supported; it could change the tokens", where_, shown(key));
  }
}

}  // namespace unmask::runtime::tokenizer
