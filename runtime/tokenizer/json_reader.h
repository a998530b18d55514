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

}  // namespace unmask::runtime::tokenizer
