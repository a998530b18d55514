// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/request.h"
#include "runtime/tokenizer/tokenizer.h"

namespace unmask::launcher {

/// Where the first of these texts begins, or npos.
std::size_t find_stop(std::string_view text, std::span<const std::string> stops);

struct AnswerText {
  std::string text;
  runtime::FinishReason finish_reason = runtime::FinishReason::kLength;
};

/// The readable part of an answer: up to the first end token, special tokens left out, cut before the first stop text.
/// Without a tokenizer the text is empty.
AnswerText answer_text(const runtime::Answer& answer, std::span<const std::string> stops, const runtime::Tokenizer* tokenizer);

/// Whether the text of these tokens holds one of the stop texts, as answer_text() would see it.
bool holds_stop(std::span<const TokenId> tokens, std::span<const std::string> stops, const runtime::Tokenizer& tokenizer);

}  // namespace unmask::launcher
