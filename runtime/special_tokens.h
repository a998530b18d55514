// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "runtime/model_config.h"
#include "runtime/model_files.h"
#include "runtime/tokenizer/tokenizer.h"

namespace unmask::runtime {

/// The tokens that mean something to decoding.
struct SpecialTokens {
  TokenId mask = 0;
  /// An answer ends at the first of any of these; the first one fills the rest. Of generation_config.json, config.json, the
  /// tokenizer's eos_token, the template's end of turn; may be empty.
  std::vector<TokenId> ends = {};
};

/// `mask_option` (--mask-token-id) wins over config, tokenizer_config's mask_token, <|mask|>, <|mdm_mask|>; a null tokenizer
/// knows no names. Throws Error(kBadInput): no mask token, or a token outside the vocabulary.
SpecialTokens find_special_tokens(const ModelFiles& files, const ModelConfig& config, const Tokenizer* tokenizer,
                                  std::optional<TokenId> mask_option);

}  // namespace unmask::runtime
