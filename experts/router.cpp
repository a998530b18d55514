// SPDX-License-Identifier: Apache-2.0
#include "experts/router.h"

#include <algorithm>
#include <cmath>

namespace unmask::experts {

cluster::Routing Router::route(const Compute& compute, const float* x, std::int64_t rows, const Matrix& weight) {
  const std::int64_t num_experts = weight.rows();
  scores_.grow(rows * num_experts);
  ids_.resize(size(rows * options_.top_k));
  weights_.resize(size(rows * options_.top_k));
  linear(compute, x, rows, weight, scores_.data());
  compute.team->for_each(rows, [&](std::int64_t r) {
    float* scores = scores_.data() + r * num_experts;
    compute.kernels->softmax(scores, 1, num_experts);
    choose(scores, num_experts, ids_.data() + r * options_.top_k, weights_.data() + r * options_.top_k);
  });
  return {.num_rows = rows, .top_k = options_.top_k, .ids = ids_, .weights = weights_};
}

void Router::choose(const float* scores, std::int64_t num_experts, ExpertId* ids, float* weights) const {
  const auto k = options_.top_k;
  float total = 0;
  std::vector<ExpertId> order;
  for (std::int64_t e = 0; e < num_experts; ++e) {
    order.emplace_back(e);
  }
  const auto rank_of = [&](ExpertId e) {  // scores that are not numbers come last
    const float score = scores[e.at()];
    return std::isnan(score) ? -1.0F : score;
  };
  std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](ExpertId a, ExpertId b) {
    return rank_of(a) > rank_of(b) || (rank_of(a) == rank_of(b) && a < b);
  });
  for (std::int64_t slot = 0; slot < k; ++slot) {
    ids[slot] = order[size(slot)];
    total += scores[order[size(slot)].at()];
  }
  std::sort(ids, ids + k);
  for (std::int64_t slot = 0; slot < k; ++slot) {
    const float score = scores[ids[slot].at()];
    weights[slot] = options_.weights == TopKWeights::kRenormalised ? score / total : score;
  }
}

}  // namespace unmask::experts
