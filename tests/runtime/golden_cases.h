// SPDX-License-Identifier: Apache-2.0
// Reads what tests/reference/make_golden.py writes.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runtime/request.h"

namespace unmask::testing_data {

/// A full pass of one prompt.
struct LogitsCase {
  std::vector<TokenId> tokens;
  std::vector<float> logits;                ///< [tokens, vocab]
  std::vector<std::int64_t> router_counts;  ///< [layers, experts]
};

struct DecodeCase {
  runtime::Request request;
  std::vector<TokenId> tokens;
  std::int64_t passes = 0;
  std::int64_t rows = 0;
  std::vector<runtime::TraceStep> trace;  ///< empty where the file keeps none
  std::string text;                       ///< of the demo's cases
  std::string answer;                     ///< the demo's right answer
};

std::vector<LogitsCase> read_logits_cases(const std::filesystem::path& file);

/// All cases of a decode.json, in either of its two forms, whatever their cache policy; numbered from 0.
std::vector<DecodeCase> read_decode_cases(const std::filesystem::path& file);

}  // namespace unmask::testing_data
