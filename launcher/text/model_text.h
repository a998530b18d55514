// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "launcher/options/option_values.h"
#include "launcher/text/request_line.h"
#include "runtime/chat/chat_template.h"
#include "runtime/special_tokens.h"
#include "runtime/tokenizer/tokenizer.h"

namespace unmask::launcher {

/// What a model knows about text; one without tokenizer.json knows token ids only.
struct ModelText {
  std::optional<runtime::Tokenizer> tokenizer;
  std::optional<runtime::ChatTemplate> chat;

  /// Fills an empty one. Throws Error(kBadInput).
  void read(const runtime::ModelFiles& files);
  /// The tokenizer, or Error(kBadInput) saying that `what` needs one.
  const runtime::Tokenizer& need_tokenizer(std::string_view what) const;
};

using runtime::find_special_tokens;
using runtime::SpecialTokens;

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
