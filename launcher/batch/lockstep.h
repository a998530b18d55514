// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "launcher/batch/batch_desk.h"
#include "launcher/run/network.h"
#include "launcher/text/model_text.h"
#include "runtime/engine.h"

namespace unmask::launcher {

/// What each rank needs for its part of a batch job.
struct BatchRank {
  const Job& job;
  Network& network;
  const SpecialTokens& special;
  const runtime::Tokenizer* tokenizer;  ///< on rank 0; the others read one when a request with stop texts comes
  BatchDesk* desk;                      ///< on rank 0, else null
  std::function<void()> after_step;     ///< on rank 0
  std::function<bool()> wants_stop;     ///< asked before every step
};

struct LockstepResult {
  bool stopped = false;             ///< before all was answered, by agreement
  std::optional<Error> failure;     ///< on rank 0: of the desk; the ranks stopped for it
  runtime::Engine::Statistics statistics;
};

/// Collective. All steps, until every request is answered, or a rank wants to stop, or the desk fails: then all ranks leave
/// after the same step, and every answer that was finished by then is with the desk.
LockstepResult run_in_lockstep(const BatchRank& rank);

}  // namespace unmask::launcher
