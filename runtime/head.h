// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "experts/linear.h"
#include "runtime/head_query.h"

namespace unmask::runtime {

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
