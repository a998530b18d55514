// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cluster/expert_work.h"
#include "experts/linear.h"

namespace unmask::experts {

/// Whether the chosen experts' weights are divided by their sum (norm_topk_prob).
enum class TopKWeights { kAsTheyAre, kRenormalised };

struct RouterOptions {
  std::int64_t top_k = 0;
  TopKWeights weights = TopKWeights::kAsTheyAre;
};

/// Chooses the experts of each row: softmax over all experts' logits in float32, the k largest scores; of equal scores the
/// lowest expert. Scores that are not numbers are chosen last, so that a broken row still has k different experts.
class Router {
 public:
  explicit Router(RouterOptions options) : options_(options) {}

  /// x [rows, hidden] float32, weight [experts, hidden]. The result is valid until the next call.
  cluster::Routing route(const Compute& compute, const float* x, std::int64_t rows, const Matrix& weight);

 private:
  /// `order` is room to work in.
  void choose(std::span<const float> scores, std::vector<ExpertId>& order, ExpertId* ids, float* weights) const;

  RouterOptions options_;
  AlignedBuffer<float> scores_;  ///< [rows, experts]
  std::vector<ExpertId> ids_;    ///< [rows, top_k]
  std::vector<float> weights_;   ///< [rows, top_k]
  std::vector<std::vector<ExpertId>> orders_;  ///< of each thread
};

}  // namespace unmask::experts
