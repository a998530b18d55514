// SPDX-License-Identifier: Apache-2.0
#include "experts/router.h"

#include <algorithm>
#include <cmath>

namespace unmask::experts {
namespace {

constexpr std::int64_t kRowsPerTask = 16;

}  // namespace

cluster::Routing Router::route(const Compute& compute, const float* x, std::int64_t rows, const Matrix& weight) {
  const std::int64_t num_experts = weight.rows();
  scores_.grow(rows * num_experts);
  ids_.resize(size(rows * options_.top_k));
  weights_.resize(size(rows * options_.top_k));
  linear({compute.kernels, compute.team, Precision::kFloat32}, x, rows, weight, scores_.data());  // rows are not rounded
  orders_.resize(size(compute.team->size()));
  compute.team->for_each_on(whole(rows, kRowsPerTask), [&](std::int64_t task, int member) {
    const std::int64_t begin = task * kRowsPerTask;
    const std::int64_t end = std::min(rows, begin + kRowsPerTask);
    compute.kernels->softmax(scores_.data() + begin * num_experts, end - begin, num_experts);
    for (std::int64_t r = begin; r < end; ++r) {
      choose({scores_.data() + r * num_experts, size(num_experts)}, orders_[size(member)], ids_.data() + r * options_.top_k,
             weights_.data() + r * options_.top_k);
    }
  });
  return {.num_rows = rows, .top_k = options_.top_k, .ids = ids_, .weights = weights_};
}

void Router::choose(std::span<const float> scores, std::vector<ExpertId>& order, ExpertId* ids, float* weights) const {
  const auto k = options_.top_k;
  float total = 0;
  order.clear();
  for (std::size_t e = 0; e < scores.size(); ++e) {
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
