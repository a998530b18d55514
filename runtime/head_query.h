// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "experts/kernels.h"
#include "runtime/noise.h"

namespace unmask::runtime {

/// Whether a row's expected embedding is wanted: softmax(logits) . embeddings.
enum class Expectation { kNone, kEmbedding };

/// What a decoder asks of one row of logits.
struct HeadQuery {
  TokenId excluded = -1;            ///< the mask token: part of the softmax, never the answer
  std::span<const TokenId> apart;   ///< ascending; left out of the summary, their logits are returned instead
  std::optional<TokenNoise> noise = {};  ///< to find a sample besides
  Expectation expectation = Expectation::kNone;
};

/// The token that wins with noise on the logits.
struct Sample {
  TokenId token = -1;  ///< -1: none
  float logit = 0;     ///< without noise
  double noised = -std::numeric_limits<double>::infinity();
};

struct RowSummary {
  experts::TileSummary all;          ///< over the vocabulary without the tokens apart
  std::vector<float> apart_logits;   ///< as HeadQuery::apart
  std::vector<float> expected;       ///< [hidden]: the expected embedding, over the whole vocabulary; empty unless asked for
  Sample sample;                     ///< of the same tokens as `all`, never the excluded one; where noise was asked for
};

}  // namespace unmask::runtime
