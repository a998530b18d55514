// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "runtime/model_files.h"

namespace unmask::runtime {

/// UTF-8 text that remembers which bytes a user wrote. A special token whose characters are even partly the user's is
/// not recognised: it is encoded as plain characters.
struct SourcedText {
  struct Span {
    std::size_t begin = 0;  ///< byte offset
    std::size_t end = 0;
  };
  std::string text;
  std::vector<Span> user;  ///< ascending, disjoint

  static SourcedText all_user(std::string text);  ///< every byte is the user's
  static SourcedText trusted(std::string text);   ///< no byte is
};

/// A byte-level BPE tokenizer read from a Hugging Face tokenizer.json; encodes and decodes as the `tokenizers` library does.
/// Immutable after loading, safe to use from several threads.
class Tokenizer {
 public:
  /// Throws Error(kBadInput): not JSON, or a component that is not supported (named).
  static Tokenizer parse(std::string_view json, std::string_view name);
  static Tokenizer read(const std::filesystem::path& file);
  /// That of a folder or a packed model.
  static Tokenizer of_model(const ModelFiles& files);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;

  /// No post-processor tokens are added. Throws Error(kBadInput) if the text is not valid UTF-8 (says at which byte).
  std::vector<TokenId> encode(const SourcedText& text) const;

  enum class SpecialTokens { kKeep, kSkip };
  /// Bytes that are no valid UTF-8 become U+FFFD, ids without a token have no text, both as in the library; a negative id is an
  /// Error(kBadInput).
  std::string decode(std::span<const TokenId> tokens, SpecialTokens special) const;

  std::optional<TokenId> id_of(std::string_view token) const;  ///< exact vocabulary entry, added tokens included
  std::optional<std::string> token_of(TokenId id) const;
  bool is_special(TokenId id) const;
  std::int64_t vocab_size() const;  ///< highest id + 1

  struct Impl;

 private:
  friend class StreamDecoder;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

/// Decodes a growing sequence: returns only text that later tokens cannot change (bytes of an unfinished UTF-8 character
/// are held back until it is complete, or until finish()).
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, Tokenizer::SpecialTokens special);
  std::string push(TokenId token);
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  Tokenizer::SpecialTokens special_;
  std::string pending_;  ///< bytes of an unfinished character, at most 3
};

}  // namespace unmask::runtime
