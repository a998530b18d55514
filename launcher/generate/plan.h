// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "launcher/generate/questions.h"
#include "launcher/run/network.h"

namespace unmask::launcher {

/// What all ranks know before the weights are loaded.
struct Plan {
  ModelText text;               ///< on rank 0; the tokenizer also elsewhere if stop texts are looked for
  SpecialTokens special;
  TokenQuestions asked;         ///< on rank 0
  std::vector<TokenRequest> requests;
  bool draws = false;           ///< somebody watches: drafts are to be sent
};

/// Collective. Rank 0 turns texts into tokens, everyone gets them.
Plan make_plan(const Job& job, const Network& network);

}  // namespace unmask::launcher
