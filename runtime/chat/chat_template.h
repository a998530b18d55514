// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "runtime/model_files.h"
#include "runtime/tokenizer/tokenizer.h"

namespace unmask::runtime {

/// A checkpoint's chat template: the subset of Jinja that published templates use, run with limits on steps, depth and
/// output. Immutable, safe to use from several threads.
class ChatTemplate {
 public:
  /// Throws Error(kBadInput) with line and construct for what is not supported.
  static ChatTemplate parse(std::string_view source, std::string_view name);
  /// chat_template.jinja if there is one, else chat_template of tokenizer_config.json (a string, or the list form's
  /// "default"); bos_token, eos_token, pad_token, unk_token of tokenizer_config.json become template variables. Nothing
  /// if the folder has no template.
  static std::optional<ChatTemplate> read(const ModelFiles& files);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;

  struct RenderOptions {
    bool add_generation_prompt = true;
  };
  /// messages: a JSON array of objects with "role" and "content" strings (other members are visible to the template too).
  /// In the result the characters that came from string values of `messages` are marked as the user's (also when a filter
  /// or a method changed or copied them); the template's own characters are not. Errors of the template (raise_exception, a
  /// limit, a type) are Error(kBadInput).
  SourcedText render(const nlohmann::ordered_json& messages, const RenderOptions& options) const;

  struct Impl;

 private:
  explicit ChatTemplate(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace unmask::runtime
