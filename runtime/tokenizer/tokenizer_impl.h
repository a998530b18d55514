// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/tokenizer/added_tokens.h"
#include "runtime/tokenizer/bpe_model.h"
#include "runtime/tokenizer/normalizer.h"
#include "runtime/tokenizer/pre_tokenizer.h"
#include "runtime/tokenizer/tokenizer.h"

namespace unmask::runtime {

/// The stages of the way from text to tokens, in their order, and the table of the way back.
struct Tokenizer::Impl {
  tokenizer::AddedTokens added;
  tokenizer::Normalizer normalizer;
  tokenizer::PreTokenizer pre_tokenizer;
  tokenizer::BpeModel model;

  /// What a token decodes to; empty bytes and `known` false for an id without a token.
  struct Decoded {
    std::string bytes;
    bool known = false;
    bool skipped = false;  ///< with SpecialTokens::kSkip
  };
  std::vector<Decoded> decoded;  ///< by id

  void fill_decoded();
  /// The bytes that `token` adds to a text; none for an id without a token. Throws Error(kBadInput) for a negative id.
  std::string_view bytes_of(TokenId token, SpecialTokens special) const;
  void encode_words(std::string_view text, tokenizer::Regex::Scratch& scratch, std::vector<TokenId>& out) const;
};

}  // namespace unmask::runtime
