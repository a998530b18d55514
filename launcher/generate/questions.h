// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "launcher/generate/answer_sink.h"
#include "launcher/run/job.h"
#include "launcher/text/model_text.h"
#include "launcher/text/wire.h"

namespace unmask::launcher {

/// What turning a request into tokens hangs on.
struct Tokenizing {
  const OptionValues& options;
  const ModelText& model;
  const runtime::ModelConfig& config;
};

/// --raw, --special and --system.
PromptOptions prompt_options(const OptionValues& options);

/// One input in tokens, checked against the model. Throws its error. Thread-safe.
TokenRequest tokenize_input(const RequestInput& input, std::int64_t number, const Tokenizing& how, PromptOptions prompt);

/// The inputs in tokens. Questions and refused stay on rank 0, the requests are what all ranks get.
struct TokenQuestions {
  std::vector<Question> questions;       ///< all of them, in order
  std::vector<runtime::Answer> refused;  ///< those that cannot be run: their errors
  std::vector<TokenRequest> requests;    ///< the others
};

/// Tokenizes what was asked, and checks that it fits the model before anything is loaded. In a request file a bad request is
/// refused alone; elsewhere it is an Error.
TokenQuestions tokenize_inputs(const Job& job, const ModelText& model, const runtime::ModelConfig& config);

}  // namespace unmask::launcher
