// SPDX-License-Identifier: Apache-2.0
#include "bench/synthetic_experts.h"

#include <algorithm>

#include "base/random.h"
#include "experts/quantised.h"

namespace unmask::bench {
namespace {

/// In (-1, 1), times `scale`.
float value(std::int64_t at, std::uint32_t stream, float scale) {
  const auto word = philox({static_cast<std::uint32_t>(at / 4), 0, 0, 0}, {stream, 1})[static_cast<std::size_t>(at % 4)];
  return round_to_bfloat16(static_cast<float>(static_cast<std::int32_t>(word)) * 0x1p-31F * scale);
}

struct Storage {
  experts::WeightType type;
  experts::Layout layout;
};

experts::Matrix quantised(const experts::Matrix& m, experts::WeightType type) {
  experts::Matrix result(m.rows(), m.cols(), type);
  for (std::int64_t p = 0; p < m.num_panels(); ++p) {
    experts::quantise_panel(m.row(p * experts::kPanelRows), p, result);
  }
  return result;
}

experts::Matrix synthetic_matrix(std::int64_t rows, std::int64_t cols, std::uint32_t stream, Storage storage) {
  experts::Matrix m(rows, cols);
  // Some random rows' worth of values, shifted from row to row: no two rows are alike, and filling 0.8 GB takes seconds.
  constexpr std::int64_t kValues = 8191;
  std::vector<bfloat16> values(kValues);
  for (std::int64_t i = 0; i < kValues; ++i) {
    values[size(i)] = to_bfloat16(value(i, stream, 0.05F));
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      m.data()[r * cols + c] = values[size((r * 523 + c) % kValues)];
    }
  }
  if (storage.type != experts::WeightType::kBf16) {
    return quantised(m, storage.type);
  }
  if (storage.layout == experts::Layout::kPanels) {
    m.pack();
  }
  return m;
}

}  // namespace

experts::ExpertWeights synthetic_experts(const ExpertShape& shape, const experts::Compute& compute, experts::WeightType type) {
  experts::ExpertWeights all(size(shape.num_experts));
  const Storage storage{type, experts::layout_of(*compute.kernels)};
  compute.team->for_each(shape.num_experts, [&](std::int64_t e) {
    const auto stream = static_cast<std::uint32_t>(3 * e + 100);
    all[size(e)].gate = synthetic_matrix(shape.width, shape.hidden, stream, storage);
    all[size(e)].up = synthetic_matrix(shape.width, shape.hidden, stream + 1, storage);
    all[size(e)].down = synthetic_matrix(shape.hidden, shape.width, stream + 2, storage);
  });
  return all;
}

SyntheticWork::SyntheticWork(const ExpertShape& shape, std::int64_t num_rows, std::span<const ExpertId> held)
    : num_rows_(num_rows), rows_(size(num_rows * shape.hidden)) {
  for (std::int64_t i = 0; i < std::ssize(rows_); ++i) {
    rows_[size(i)] = value(i, 7, 1.0F);
  }
  std::vector<std::int32_t> order(size(shape.num_experts));
  for (std::int64_t e = 0; e < shape.num_experts; ++e) {
    order[size(e)] = static_cast<std::int32_t>(e);
  }
  for (std::int32_t r = 0; r < num_rows; ++r) {
    for (std::int64_t k = 0; k < shape.top_k; ++k) {  // the first top_k of a shuffle
      const auto word = philox({static_cast<std::uint32_t>(r), static_cast<std::uint32_t>(k), 0, 0}, {8, 1})[0];
      std::swap(order[size(k)], order[size(k + word % (shape.num_experts - k))]);
      const auto place = std::find(held.begin(), held.end(), ExpertId(order[size(k)]));
      if (held.empty() || place != held.end()) {
        const LocalExpert expert = held.empty() ? LocalExpert(order[size(k)]) : LocalExpert(place - held.begin());
        assignments_.push_back({.row = r, .expert = expert, .weight = 1.0F / static_cast<float>(k + 2), .slot = r});
      }
    }
  }
  std::stable_sort(assignments_.begin(), assignments_.end(), [](const auto& a, const auto& b) { return a.expert < b.expert; });
  for (std::size_t i = 0; i < assignments_.size(); ++i) {
    num_busy_ += i == 0 || assignments_[i].expert != assignments_[i - 1].expert ? 1 : 0;
  }
}

cluster::ExpertWork SyntheticWork::work() const {
  return {.num_rows = num_rows_, .num_slots = num_rows_, .rows = rows_, .assignments = assignments_};
}

}  // namespace unmask::bench
