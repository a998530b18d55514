// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/batch/batch_line.h"
#include "launcher/text/answer_text.h"
#include "runtime/request.h"

namespace unmask::launcher {

/// What rank 0 keeps of a request until it is answered.
struct Ticket {
  std::int64_t index = 0;        ///< among the lines that are not blank, from 0
  std::int64_t number = 0;       ///< of its line, from 1
  std::uint64_t input_hash = 0;  ///< of line and number
  BatchLine::Form form = BatchLine::Form::kUnknown;
  std::string id_json;           ///< as the caller wrote it, or the number
  bool has_custom_id = false;
  std::string model;
  std::string error_kind;
  std::vector<TokenId> prompt;
  std::vector<std::string> stops;
};

/// The answer to an OpenAI request, or to a line whose form cannot be told, as a line without its line feed. The same request
/// has the same answer at any time: ids come from the line, `created` is 0.
std::string openai_answer(const Ticket& ticket, const runtime::Answer& answer, const AnswerText& text);

}  // namespace unmask::launcher
