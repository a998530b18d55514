// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "experts/linear.h"
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

/// The output projection as a loop over vocabulary tiles with small per-row reducers. Tiles are cut from token 0 on and
/// merged in order, so the result does not depend on threads or on the other rows; full logits are never stored.
class Head {
 public:
  /// weight, embedding [vocab, hidden]; the embedding is in rows.
  Head(const experts::Matrix& weight, const experts::Matrix& embedding, experts::Compute compute)
      : weight_(weight), embedding_(embedding), compute_(compute) {}

  /// rows [queries.size(), hidden] -> one summary per row.
  std::vector<RowSummary> summarise(std::span<const float> rows, std::span<const HeadQuery> queries);

  /// rows [n, hidden] -> logits [n, vocab] float32: for the `logits` command.
  std::vector<float> logits(std::span<const float> rows);

 private:
  struct Pass;
  const experts::Matrix& weight_;
  const experts::Matrix& embedding_;
  experts::Compute compute_;
};

/// The summary of two neighbouring ranges, `left` holding the lower tokens.
experts::TileSummary merge(const experts::TileSummary& left, const experts::TileSummary& right,
                           const experts::KernelFamily& kernels);

}  // namespace unmask::runtime
