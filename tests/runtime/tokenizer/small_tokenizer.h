// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/tokenizer.h"

namespace unmask::runtime {

/// A tokenizer.json with the 256 byte characters (id = byte), some merges (ids from 256) and ByteLevel.
inline nlohmann::json small_tokenizer(const std::vector<std::pair<std::string, std::string>>& merges = {}) {
  nlohmann::json vocab;
  for (int byte = 0; byte < 256; ++byte) {
    std::string character;
    tokenizer::append_byte_characters(character, std::string(1, static_cast<char>(static_cast<unsigned char>(byte))));
    vocab[character] = byte;
  }
  int next = 256;
  for (const auto& [left, right] : merges) {
    vocab.emplace(left + right, next++);
  }
  const nlohmann::json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  return {{"version", "1.0"},        {"truncation", nullptr},       {"padding", nullptr},
          {"normalizer", nullptr},   {"pre_tokenizer", byte_level}, {"post_processor", nullptr},
          {"decoder", byte_level},   {"added_tokens", nlohmann::json::array()},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

struct Flags {
  bool special = false;
  bool normalized = false;
  bool lstrip = false;
  bool rstrip = false;
  bool single_word = false;
};

/// Appends an added token with the next free id, which it returns.
inline TokenId add_token(nlohmann::json& json, const std::string& content, Flags flags) {
  const auto id = static_cast<TokenId>(json["model"]["vocab"].size() + json["added_tokens"].size());
  json["added_tokens"].push_back({{"id", id},
                                  {"content", content},
                                  {"special", flags.special},
                                  {"normalized", flags.normalized},
                                  {"lstrip", flags.lstrip},
                                  {"rstrip", flags.rstrip},
                                  {"single_word", flags.single_word}});
  return id;
}

inline Tokenizer load(const nlohmann::json& json) { return Tokenizer::parse(json.dump(), "small.json"); }

/// The ids of single bytes: what plain text encodes to without merges.
inline std::vector<TokenId> bytes(std::string_view text) {
  std::vector<TokenId> ids;
  for (const char c : text) {
    ids.push_back(static_cast<unsigned char>(c));
  }
  return ids;
}

inline std::vector<TokenId> operator+(std::vector<TokenId> left, const std::vector<TokenId>& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

}  // namespace unmask::runtime
