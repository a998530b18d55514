// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/types.h"
#include "runtime/tokenizer/bpe_merge.h"

namespace unmask::runtime::tokenizer {

struct TokenizerFile;

/// Byte-pair encoding of one word: its characters, then the merges of the file in their order.
class BpeModel {
 public:
  /// Ids are below this, so that a small file cannot ask for a big table.
  static constexpr std::int64_t kMaxVocab = std::int64_t{1} << 22;

  /// Takes the tables out of `file`. Throws Error(kBadInput).
  static BpeModel parse(TokenizerFile& file, const std::string& name);
  BpeModel(BpeModel&&) = default;
  BpeModel(const BpeModel&) = delete;

  /// Appends the tokens of `word` (valid UTF-8); `symbols` is working memory. A character that is not in the vocabulary
  /// becomes the unknown token, or nothing if there is none, as the reference does it.
  void encode(std::string_view word, std::vector<TokenId>& symbols, std::vector<TokenId>& out) const;

  std::optional<TokenId> id_of(std::string_view token) const;
  /// Null for an id without a token.
  const std::string* token_of(TokenId id) const;
  std::int64_t num_tokens() const { return static_cast<std::int64_t>(ids_.size()); }
  std::int64_t highest_id_plus_one() const { return static_cast<std::int64_t>(tokens_.size()); }

 private:
  explicit BpeModel(std::size_t num_merges) : merges_(num_merges) {}
  void take_vocab(TokenizerFile& file, const std::string& name);
  void take_merges(const TokenizerFile& file, const std::string& name);
  TokenId character_id(std::string_view character) const;
  void split_characters(std::string_view word, std::vector<TokenId>& symbols) const;

  static constexpr TokenId kNone = -1;
  std::vector<std::string> tokens_;                      ///< by id; ids_ points into it
  std::unordered_map<std::string_view, TokenId> ids_;
  std::array<TokenId, 0x180> low_characters_{};          ///< ids of the single characters below U+0180: all of byte level
  MergeTable merges_;
  bool ignore_merges_ = false;                           ///< a word that is a token is that token
  bool fuse_unknown_ = false;                            ///< neighbouring unknown characters become one token
  std::optional<std::string> unknown_token_;
};

}  // namespace unmask::runtime::tokenizer
