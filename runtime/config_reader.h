// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace unmask::runtime {

/// Typed access to the keys of one object of a config.json, remembering which of them were asked for. A key that is null counts
/// as absent. What has the wrong type or lies outside its range throws Error(kBadInput) naming file, key, found, expected.
class ConfigReader {
 public:
  /// Keeps references to both.
  ConfigReader(const nlohmann::json& object, std::string_view name) : object_(object), name_(name) {}

  /// The value, or nothing where the key is absent or null.
  const nlohmann::json* find(std::string_view key);

  /// Whole numbers from `low` to `high`: 2 and 2.0, but not 2.5, "2" or true.
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high);
  std::int64_t integer_or(std::string_view key, std::int64_t otherwise, std::int64_t low, std::int64_t high);
  std::int64_t to_integer(const nlohmann::json& value, std::string_view key, std::int64_t low, std::int64_t high) const;

  double number_or(std::string_view key, double otherwise, double low, double high);
  bool boolean_or(std::string_view key, bool otherwise);

  bool was_used(std::string_view key) const;
  const nlohmann::json& object() const { return object_; }
  std::string_view name() const { return name_; }

 private:
  const nlohmann::json& object_;
  std::string_view name_;
  std::vector<std::string> used_;
};

}  // namespace unmask::runtime
