// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "launcher/text/request_line.h"

namespace unmask::launcher {

/// One line of a batch: a request as `generate --requests` takes it, or one of OpenAI's batch format.
struct BatchLine {
  enum class Form {
    kPlain,       ///< {"prompt": ...}: answered as by generate
    kChat,        ///< /v1/chat/completions
    kCompletion,  ///< /v1/completions: the prompt is used as it is, without the chat template
    kUnknown,     ///< an error whose form cannot be told
  };
  Form form = Form::kUnknown;
  RequestInput request;                  ///< its id is the custom_id where there is one
  std::optional<std::string> custom_id;  ///< of OpenAI's forms, also beside an error
  std::string model;                     ///< the request's name for the model, a label
  std::string error_kind;                ///< beside request.error: a word for statistics and for OpenAI's error code
};

/// Never throws for what the line holds. Fields of OpenAI's with their neutral value pass; what cannot be honoured is the
/// request's error.
BatchLine parse_batch_line(std::string_view line, std::int64_t number);

/// The line that was longer than a line may be.
BatchLine too_long_line(std::int64_t number);

}  // namespace unmask::launcher
