// SPDX-License-Identifier: Apache-2.0
#include "runtime/config_reader.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "runtime/strict_json.h"

namespace unmask::runtime {

using nlohmann::json;

const json* ConfigReader::find(std::string_view key) {
  used_.emplace_back(key);
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::int64_t ConfigReader::integer(std::string_view key, std::int64_t low, std::int64_t high) {
  const json* value = find(key);
  require(value != nullptr, ExitCode::kBadInput, "{}: {} is missing: expected a whole number from {} to {}", name_, key, low,
          high);
  return to_integer(*value, key, low, high);
}

std::int64_t ConfigReader::integer_or(std::string_view key, std::int64_t otherwise, std::int64_t low, std::int64_t high) {
  const json* value = find(key);
  return value == nullptr ? otherwise : to_integer(*value, key, low, high);
}

std::int64_t ConfigReader::to_integer(const json& value, std::string_view key, std::int64_t low, std::int64_t high) const {
  // All ranges asked for lie within the integers that a double holds exactly.
  const double number = value.is_number() ? value.get<double>() : std::nan("");
  require(number >= static_cast<double>(low) && number <= static_cast<double>(high) && number == std::floor(number),
          ExitCode::kBadInput, "{}: {} is {}: expected a whole number from {} to {}", name_, key, describe(value), low, high);
  return static_cast<std::int64_t>(number);
}

double ConfigReader::number_or(std::string_view key, double otherwise, double low, double high) {
  const json* value = find(key);
  if (value == nullptr) {
    return otherwise;
  }
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  require(number >= low && number <= high, ExitCode::kBadInput, "{}: {} is {}: expected a number from {} to {}", name_, key,
          describe(*value), low, high);
  return number;
}

bool ConfigReader::boolean_or(std::string_view key, bool otherwise) {
  const json* value = find(key);
  require(value == nullptr || value->is_boolean(), ExitCode::kBadInput, "{}: {} is {}: expected true, false or null", name_, key,
          value == nullptr ? "" : describe(*value));
  return value == nullptr ? otherwise : value->get<bool>();
}

bool ConfigReader::was_used(std::string_view key) const { return std::find(used_.begin(), used_.end(), key) != used_.end(); }

}  // namespace unmask::runtime
