// SPDX-License-Identifier: Apache-2.0
#include "experts/router.h"

#include <algorithm>
#include <cmath>

namespace unmask::experts {
namespace {

constexpr std::int64_t kRowsPerTask = 16;

}  // namespace

cluster::Routing Router::route(const Compute& compute, const float* x, std::int64_t rows, const Matrix& weight) {
  begin(compute, rows, weight);
  compute.team->for_each_on(whole(rows, kRowsPerTask), [&](std::int64_t task, int member) {
    const std::int64_t begin = task * kRowsPerTask;
    const std::int64_t count = std::min(kRowsPerTask, rows - begin);
    route_rows(compute, weight, {x + begin * weight.cols(), begin, count}, rooms_[size(member)]);
  });
  return routing(rows);
}

cluster::Routing Router::route_normed(const Compute& compute, const NormedRows& in, const Matrix& weight, float* rounded) {
  begin(compute, in.rows, weight);
  compute.team->for_each_on(whole(in.rows, kRowsPerTask), [&](std::int64_t task, int member) {
    const std::int64_t begin = task * kRowsPerTask;
    const std::int64_t count = std::min(kRowsPerTask, in.rows - begin);
    Room& room = rooms_[size(member)];
    room.normed.grow(kRowsPerTask * weight.cols());
    norm_rows(*compute.kernels, in, begin, count, Precision::kFloat32, room.normed.data());
    route_rows(compute, weight, {room.normed.data(), begin, count}, room);
    norm_rows(*compute.kernels, in, begin, count, compute.precision, rounded + begin * weight.cols());
  });
  return routing(in.rows);
}

void Router::begin(const Compute& compute, std::int64_t rows, const Matrix& weight) {
  ids_.resize(size(rows * options_.top_k));
  weights_.resize(size(rows * options_.top_k));
  rooms_.resize(size(compute.team->size()));
  for (Room& room : rooms_) {
    room.scores.grow(kRowsPerTask * weight.rows());
  }
}

void Router::route_rows(const Compute& compute, const Matrix& weight, const Rows& rows, Room& room) {
  const std::int64_t num_experts = weight.rows();
  compute.kernels->gemm({.x = rows.x, .x_stride = weight.cols(), .rows = rows.count, .w = weight.row(0), .k = weight.cols(), .n_begin = 0,
                         .n_end = num_experts, .y = room.scores.data(), .y_stride = num_experts});
  compute.kernels->softmax(room.scores.data(), rows.count, num_experts);
  for (std::int64_t r = 0; r < rows.count; ++r) {
    const std::int64_t at = (rows.begin + r) * options_.top_k;
    choose({room.scores.data() + r * num_experts, size(num_experts)}, room.order, ids_.data() + at, weights_.data() + at);
  }
}

void Router::choose(std::span<const float> scores, std::vector<ExpertId>& order, ExpertId* ids, float* weights) const {
  const auto k = size(options_.top_k);
  const auto rank_of = [&](ExpertId e) {  // scores that are not numbers come last
    const float score = scores[e.at()];
    return std::isnan(score) ? -1.0F : score;
  };
  order.clear();
  for (std::size_t e = 0; e < scores.size(); ++e) {  // those chosen so far by falling score; of equal ones the lower stays in front
    const ExpertId expert(e);
    const float rank = rank_of(expert);
    if (order.size() == k && rank <= rank_of(order.back())) {
      continue;
    }
    if (order.size() == k) {
      order.pop_back();
    }
    const auto place = std::find_if(order.rbegin(), order.rend(), [&](ExpertId other) { return rank_of(other) >= rank; });
    order.insert(place.base(), expert);
  }
  float total = 0;
  for (std::size_t slot = 0; slot < k; ++slot) {
    ids[slot] = order[slot];
    total += scores[order[slot].at()];
  }
  std::sort(ids, ids + k);
  for (std::size_t slot = 0; slot < k; ++slot) {
    const float score = scores[ids[slot].at()];
    weights[slot] = options_.weights == TopKWeights::kRenormalised ? score / total : score;
  }
}

}  // namespace unmask::experts
