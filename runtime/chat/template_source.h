// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/model_files.h"

namespace unmask::runtime::chat {

/// A checkpoint folder's template, not parsed yet, and its special tokens as template variables.
struct TemplateSource {
  std::string text;
  std::string name;  ///< the file, for messages
  std::vector<std::pair<std::string, std::string>> special_tokens;
};

/// Nothing if the folder has no template. Throws Error(kBadInput): a file that is too large or not what it should be.
std::optional<TemplateSource> read_template_source(const ModelFiles& files);

}  // namespace unmask::runtime::chat
