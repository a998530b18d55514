// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "launcher/run/network.h"

namespace unmask::launcher {

/// The logits of one full pass.
struct PassLogits {
  std::span<const std::int64_t> router_counts;  ///< [layers, experts]
  /// Calls take(logits [some rows, vocab]) for all rows in order; they are never all in memory.
  std::function<void(const std::function<void(std::span<const float>)>& take)> for_each_piece;
};

/// Collective: one pass over these tokens (given on rank 0, ignored elsewhere). Rank 0's `use` gets the result while it lasts.
void run_single_pass(const Job& job, Network& network, const std::vector<TokenId>& tokens,
                     const std::function<void(const PassLogits&)>& use);

/// Throws Error(kBadInput): no token, a token outside the vocabulary, more than the model has positions.
void require_fits(const std::vector<TokenId>& tokens, const runtime::ModelConfig& config);

}  // namespace unmask::launcher
