// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/generate/exchange_report.h"
#include "launcher/text/answer_text.h"
#include "runtime/request.h"

namespace unmask::launcher {

/// What a run did as a whole: the `run` member of the last object (DESIGN.md section 7).
struct RunReport {
  double load_seconds = 0;    ///< of the slowest rank
  double decode_seconds = 0;
  std::int64_t text_tokens = 0;  ///< tokens before the end tokens, of all answers
  std::int64_t passes = 0;       ///< of all answers
  std::int64_t num_threads = 0;
  std::string dtype;
  std::string device;
  std::string kernel;
  ExchangeReport exchange;
  std::vector<std::uint64_t> bytes_read;         ///< per rank
  std::vector<std::uint64_t> peak_memory_bytes;  ///< per rank; ranks that are threads share their process's
};

struct AnswerLine {
  std::string id_json;
  const std::vector<TokenId>& prompt;
  const runtime::Answer& answer;
  const AnswerText& text;
  enum class Trace { kLeaveOut, kPrint } trace = Trace::kLeaveOut;
};

/// One line, without its line feed; `run` may be null.
std::string answer_json(const AnswerLine& line, const RunReport* run);

}  // namespace unmask::launcher
