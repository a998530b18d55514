// SPDX-License-Identifier: Apache-2.0
#include "experts/grouped_experts.h"

#include <algorithm>
#include <cstring>

#include "experts/quantised.h"

namespace unmask::experts {
namespace {

constexpr std::int64_t kOutputsPerTask = 32;

/// Quantised weights suit every family; those that take panels expand them on the way, the others before.
bool is_in_panels(Layout layout, const KernelFamily& kernels) {
  return layout == Layout::kPanels || (layout == Layout::kQuantised && kernels.panels != nullptr);
}

/// Rows [begin, end) of a matrix as a plain product takes them.
class PlainRows {
 public:
  PlainRows(const Matrix& m, std::int64_t begin, std::int64_t end) {
    if (m.layout() == Layout::kQuantised) {
      expanded_.grow((end - begin) * m.cols());
      expand_rows(m, begin, end, expanded_.data());
    }
    rows_ = m.layout() == Layout::kQuantised ? expanded_.data() : m.row(begin);
  }
  const bfloat16* data() const { return rows_; }

 private:
  AlignedBuffer<bfloat16> expanded_;
  const bfloat16* rows_;
};

}  // namespace

std::span<const float> GroupedExperts::run(const Compute& compute, const ExpertWeights& experts, std::int64_t hidden,
                                           const cluster::ExpertWork& work) {
  slots_.grow(work.num_slots * hidden);
  const std::span<const float> slots(slots_.data(), size(work.num_slots * hidden));
  if (!work.assignments.empty() && !experts.empty() && is_in_panels(experts.front().gate.layout(), *compute.kernels)) {
    panels_.run(compute, experts, hidden, work, slots_.data());
    return slots;
  }
  if (work.new_slots_end > work.new_slots_begin) {
    std::memset(slots_.data() + work.new_slots_begin * hidden, 0,
                size((work.new_slots_end - work.new_slots_begin) * hidden) * sizeof(float));
  }
  auto rest = work.assignments;
  while (!rest.empty()) {
    const LocalExpert expert = rest.front().expert;
    UNMASK_CHECK(expert.at() < experts.size(), "expert {} of {}", expert, experts.size());
    const auto end = std::find_if(rest.begin(), rest.end(), [&](const auto& a) { return a.expert != expert; });
    const auto count = static_cast<std::size_t>(end - rest.begin());
    run_one(compute, experts[expert.at()], work, rest.first(count));
    rest = rest.subspan(count);
  }
  return slots;
}

void GroupedExperts::run_one(const Compute& compute, const Expert& expert, const cluster::ExpertWork& work,
                             std::span<const cluster::Assignment> assignments) {
  const auto rows = static_cast<std::int64_t>(assignments.size());
  const std::int64_t width = expert.gate.rows();
  const std::int64_t hidden = expert.gate.cols();
  x_.grow(rows * hidden);
  gate_.grow(rows * width);
  up_.grow(rows * width);
  y_.grow(rows * hidden);
  for (std::int64_t r = 0; r < rows; ++r) {
    std::memcpy(x_.data() + r * hidden, work.rows.data() + assignments[size(r)].row * hidden, size(hidden) * sizeof(float));
  }
  // Tasks own columns, so each value is written by one thread.
  compute.team->for_each(whole(width, kOutputsPerTask), [&](std::int64_t task) {
    const std::int64_t begin = task * kOutputsPerTask;
    const std::int64_t end = std::min(width, begin + kOutputsPerTask);
    const PlainRows gate(expert.gate, begin, end), up(expert.up, begin, end);
    GemmProblem g{.x = x_.data(), .x_stride = hidden, .rows = rows, .w = gate.data(), .k = hidden,
                  .n_begin = 0, .n_end = end - begin, .y = gate_.data() + begin, .y_stride = width,
                  .precision = compute.precision};
    compute.kernels->gemm(g);
    g.w = up.data();
    g.y = up_.data() + begin;
    compute.kernels->gemm(g);
    for (std::int64_t r = 0; r < rows; ++r) {
      float* h = gate_.data() + r * width + begin;
      compute.kernels->silu_multiply(h, up_.data() + r * width + begin, end - begin, compute.precision, h);
    }
  });
  compute.team->for_each(whole(hidden, kOutputsPerTask), [&](std::int64_t task) {
    const std::int64_t begin = task * kOutputsPerTask;
    const std::int64_t end = std::min(hidden, begin + kOutputsPerTask);
    const PlainRows down(expert.down, begin, end);
    compute.kernels->gemm({.x = gate_.data(), .x_stride = width, .rows = rows, .w = down.data(), .k = width, .n_begin = 0,
                           .n_end = end - begin, .y = y_.data() + begin, .y_stride = hidden, .precision = compute.precision});
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto& a = assignments[size(r)];
      compute.kernels->add_weighted(a.weight, y_.data() + r * hidden + begin, end - begin,
                                    slots_.data() + a.slot * hidden + begin);
    }
  });
}

}  // namespace unmask::experts
