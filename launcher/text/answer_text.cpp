// SPDX-License-Identifier: Apache-2.0
#include "launcher/text/answer_text.h"

#include <algorithm>

namespace unmask::launcher {

std::size_t find_stop(std::string_view text, std::span<const std::string> stops) {
  std::size_t first = std::string_view::npos;
  for (const std::string& stop : stops) {
    first = std::min(first, text.find(stop));
  }
  return first;
}

AnswerText answer_text(const runtime::Answer& answer, std::span<const std::string> stops, const runtime::Tokenizer* tokenizer) {
  AnswerText out{.text = {}, .finish_reason = answer.finish_reason};
  if (tokenizer == nullptr) {
    return out;
  }
  const auto before_end = std::span(answer.tokens).first(size(answer.text_tokens));
  out.text = tokenizer->decode(before_end, runtime::Tokenizer::SpecialTokens::kSkip);
  if (const std::size_t stop = find_stop(out.text, stops); stop != std::string::npos) {
    out.text.resize(stop);
    out.finish_reason = runtime::FinishReason::kStop;
  }
  return out;
}

bool holds_stop(std::span<const TokenId> tokens, std::span<const std::string> stops, const runtime::Tokenizer& tokenizer) {
  return !stops.empty() &&
         find_stop(tokenizer.decode(tokens, runtime::Tokenizer::SpecialTokens::kSkip), stops) != std::string::npos;
}

}  // namespace unmask::launcher
