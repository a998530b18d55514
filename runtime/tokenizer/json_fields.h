// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace unmask::runtime::tokenizer {

/// Reads the members of one JSON object; what is read is crossed off, what is left at the end is refused.
class Fields {
 public:
  Fields(const nlohmann::json& object, std::string where);

  /// The member, or null if there is none.
  const nlohmann::json& get(const std::string& key);
  std::string text(const std::string& key);
  bool flag(const std::string& key);
  /// `otherwise` if there is no such member.
  bool flag_or(const std::string& key, bool otherwise);
  /// Refuses members that nobody asked for: they may change what the tokenizer does.
  void finish() const;
  const std::string& where() const { return where_; }

 private:
  const nlohmann::json& object_;
  std::string where_;
  std::vector<std::string> read_;
};

}  // namespace unmask::runtime::tokenizer
