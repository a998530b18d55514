// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "launcher/options/option_values.h"
#include "launcher/text/request_line.h"
#include "runtime/chat/chat_template.h"
#include "runtime/model_config.h"
#include "runtime/tokenizer/tokenizer.h"

namespace unmask::launcher {

/// What a model folder knows about text; a folder without tokenizer.json knows token ids only.
struct ModelText {
  std::optional<runtime::Tokenizer> tokenizer;
  std::optional<runtime::ChatTemplate> chat;

  /// Fills an empty one. Throws Error(kBadInput).
  void read(const std::filesystem::path& folder);
  /// The tokenizer, or Error(kBadInput) saying that `what` needs one.
  const runtime::Tokenizer& need_tokenizer(std::string_view what) const;
};

/// The tokens that mean something to decoding.
struct SpecialTokens {
  TokenId mask = 0;
  /// An answer ends at the first of any of these; the first one fills the rest. Of generation_config.json, config.json, the
  /// tokenizer's eos_token, the template's end of turn; may be empty.
  std::vector<TokenId> ends;
};

/// `mask_option` (--mask-token-id) wins over config, tokenizer_config's mask_token, <|mask|>, <|mdm_mask|>. Throws
/// Error(kBadInput): no mask token, or a token outside the vocabulary.
SpecialTokens find_special_tokens(const std::filesystem::path& folder, const runtime::ModelConfig& config,
                                  const runtime::Tokenizer* tokenizer, std::optional<TokenId> mask_option);

struct PromptOptions {
  enum class Template { kUse, kRaw };
  enum class Special { kAsText, kRecognise };
  Template chat = Template::kUse;
  Special special = Special::kAsText;
  std::optional<std::string> system;  ///< put before conversations that do not begin with a system message
};

/// The tokens of a prompt; a text becomes one user message where the folder has a chat template.
std::vector<TokenId> encode_prompt(const ModelText& model, const RequestInput& request, const PromptOptions& options);

}  // namespace unmask::launcher
