// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/types.h"
#include "runtime/sampling.h"

namespace unmask::runtime {

/// A request that an engine was given; unique within the engine.
using RequestHandle = Index<struct RequestHandleTag, std::int64_t>;

constexpr std::int64_t kMaxPriority = 1000;

/// One answer to be generated, in tokens.
struct Request {
  std::int64_t number = 0;  ///< its place in the input: chosen by the caller, returned with the answer
  std::string id;           ///< keys its random numbers; a caller's id, else its line
  std::vector<TokenId> prompt;
  SamplingOptions options;
  std::int64_t priority = 0;  ///< -kMaxPriority to kMaxPriority; higher ones are admitted sooner, see WaitingLine
};

/// A position that a step unmasked.
struct Unmasked {
  std::int64_t position = 0;  ///< in the sequence, prompt included
  TokenId token = 0;
  float confidence = 0;
};

/// One step of the trace, as tests/reference/decode.py prints it.
struct TraceStep {
  std::int64_t block = 0;
  std::int64_t window_begin = 0;
  std::int64_t window_end = 0;
  std::vector<Unmasked> unmasked;  ///< ascending by position
};

enum class FinishReason { kLength, kStop };  ///< all blocks were decoded; an end token or stop text ended the answer

struct Answer {
  std::int64_t number = 0;
  std::vector<TokenId> tokens;  ///< gen_length ids
  std::int64_t text_tokens = 0; ///< tokens before the first end token
  std::int64_t passes = 0;
  std::int64_t rows = 0;
  FinishReason finish_reason = FinishReason::kLength;
  std::vector<TraceStep> trace;  ///< filled where the engine was asked to
  std::optional<Error> error;    ///< the request failed alone; the other members are then empty
};

}  // namespace unmask::runtime
