// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace unmask::runtime::tokenizer {

/// A tokenizer.json as read: the two big tables apart, so that no JSON tree of them is ever built.
struct TokenizerFile {
  struct Entry {
    std::string token;
    std::int64_t id = 0;
  };
  std::vector<Entry> vocab;                                  ///< in the file's order, not checked yet
  std::vector<std::pair<std::string, std::string>> merges;   ///< best first
  nlohmann::json rest;                                       ///< everything but model.vocab and model.merges
};

/// Throws Error(kBadInput): not JSON, too deep, a key twice in an object, tables of another form. `name` is for messages.
TokenizerFile read_tokenizer_json(std::string_view json, std::string_view name);

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
