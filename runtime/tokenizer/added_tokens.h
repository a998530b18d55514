// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/types.h"
#include "runtime/tokenizer/normalizer.h"

namespace unmask::runtime::tokenizer {

class BpeModel;

/// Byte strings, of which all that begin at a given place are found in one walk: a trie.
class PrefixTrie {
 public:
  struct Hit {
    std::size_t length = 0;
    std::size_t value = 0;
  };
  /// False if the key is there already. `key` is not empty.
  bool put(std::string_view key, std::size_t value);
  /// All keys that `text` begins with, shortest first; replaces `hits`.
  void find(std::string_view text, std::vector<Hit>& hits) const;

 private:
  static constexpr std::int32_t kNone = -1;
  std::array<bool, 256> first_bytes_{};                        ///< bytes that some key begins with
  std::unordered_map<std::uint64_t, std::int32_t> children_;   ///< node * 256 + byte -> node; the root is 0
  std::vector<std::int64_t> values_ = {kNone};                 ///< by node
};

struct AddedToken {
  std::string content;
  std::string pattern;  ///< what is looked for and what is decoded: the content, normalised if it is to be
  TokenId id = 0;
  bool special = false;
  bool normalized = false;   ///< looked for in the normalised text
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space after it
  bool single_word = false;  ///< only where no word character touches it
};

/// The tokens that are cut out of a text before anything else happens to it.
class AddedTokens {
 public:
  /// Throws Error(kBadInput).
  static AddedTokens parse(const nlohmann::json& list, const BpeModel& model, const Normalizer& normalizer, const std::string& where);

  enum class Stage { kOriginal, kNormalized };
  struct Part {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::optional<TokenId> id;  ///< none: text
  };
  /// The text as tokens of this stage and what lies between: leftmost first, the longest of those that begin there. A
  /// special token that overlaps a `user` span is passed over.
  std::vector<Part> split(Stage stage, std::string_view text, std::span<const SourcedText::Span> user) const;

  const std::vector<AddedToken>& all() const { return tokens_; }
  std::optional<TokenId> id_of(std::string_view content) const;
  const AddedToken* find(TokenId id) const;

 private:
  struct Found {
    const AddedToken* token = nullptr;  ///< null: go on searching at `end`
    std::size_t end = 0;
  };
  Found choose(std::size_t at, std::span<const PrefixTrie::Hit> hits, std::span<const SourcedText::Span> user) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, std::size_t> by_content_;
  std::unordered_map<TokenId, std::size_t> by_id_;
  PrefixTrie original_;
  PrefixTrie normalized_;
};

}  // namespace unmask::runtime::tokenizer
