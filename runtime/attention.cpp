// SPDX-License-Identifier: Apache-2.0
#include "runtime/attention.h"

#include <algorithm>
#include <cmath>

#include "base/bfloat16.h"

namespace unmask::runtime {
namespace {

constexpr std::int64_t kRowsPerTask = 16;

void round_in_place(float* x, std::int64_t count, experts::Precision precision) {
  if (precision == experts::Precision::kBfloat16) {
    std::transform(x, x + count, x, round_to_bfloat16);
  }
}

}  // namespace

Attention::Attention(const ModelConfig& config) : config_(config), rope_(config.rope_theta, config.head_dim) {}

void Attention::run(const experts::Compute& compute, const LayerWeights& layer, const StepBatch& batch, const float* x,
                    float* out) {
  const std::int64_t rows = batch.num_rows();
  q_.grow(rows * layer.q_proj.rows());
  k_.grow(rows * layer.k_proj.rows());
  v_.grow(rows * layer.v_proj.rows());
  mixed_.grow(rows * layer.q_proj.rows());
  linear(compute, x, rows, layer.q_proj, q_.data());
  linear(compute, x, rows, layer.k_proj, k_.data());
  linear(compute, x, rows, layer.v_proj, v_.data());
  norm_and_rotate(compute, layer, batch);
  attend(compute, batch);
  linear(compute, mixed_.data(), rows, layer.o_proj, out);
}

void Attention::norm_and_rotate(const experts::Compute& compute, const LayerWeights& layer, const StepBatch& batch) {
  std::int64_t longest = 0;
  for (const auto& sequence : batch.sequences) {
    longest = std::max(longest, sequence.num_rows);
  }
  rope_.prepare(longest);
  const std::int64_t dim = config_.head_dim;
  const auto prepare_heads = [&](float* row, std::int64_t heads, const std::vector<float>& norm, std::int64_t position) {
    if (!norm.empty()) {
      compute.kernels->rms_norm({.x = row, .x_stride = dim, .rows = heads, .cols = dim, .weight = norm.data(),
                                 .eps = config_.rms_norm_eps, .precision = experts::Precision::kFloat32, .y = row,
                                 .y_stride = dim});
    }
    for (std::int64_t h = 0; h < heads; ++h) {
      rope_.rotate(row + h * dim, position);
    }
    round_in_place(row, heads * dim, compute.precision);
  };
  const std::int64_t q_width = config_.num_heads * dim;
  const std::int64_t kv_width = config_.num_kv_heads * dim;
  for (const auto& sequence : batch.sequences) {
    compute.team->for_each((sequence.num_rows + kRowsPerTask - 1) / kRowsPerTask, [&](std::int64_t task) {
      const std::int64_t end = std::min(sequence.num_rows, (task + 1) * kRowsPerTask);
      for (std::int64_t position = task * kRowsPerTask; position < end; ++position) {
        const std::int64_t row = sequence.row_begin + position;
        prepare_heads(q_.data() + row * q_width, config_.num_heads, layer.q_norm, position);
        prepare_heads(k_.data() + row * kv_width, config_.num_kv_heads, layer.k_norm, position);
        round_in_place(v_.data() + row * kv_width, kv_width, compute.precision);
      }
    });
  }
}

void Attention::attend(const experts::Compute& compute, const StepBatch& batch) {
  const std::int64_t dim = config_.head_dim;
  const std::int64_t q_width = config_.num_heads * dim;
  const std::int64_t kv_width = config_.num_kv_heads * dim;
  const std::int64_t heads_per_kv = config_.num_heads / config_.num_kv_heads;
  for (const auto& sequence : batch.sequences) {
    const std::int64_t row_blocks = (sequence.num_rows + kRowsPerTask - 1) / kRowsPerTask;
    compute.team->for_each(row_blocks * config_.num_heads, [&](std::int64_t task) {
      const std::int64_t head = task / row_blocks;
      const std::int64_t first = task % row_blocks * kRowsPerTask;
      const std::int64_t q_offset = (sequence.row_begin + first) * q_width + head * dim;
      const std::int64_t kv_offset = sequence.row_begin * kv_width + head / heads_per_kv * dim;
      compute.kernels->attend({.q = q_.data() + q_offset, .q_stride = q_width,
                               .rows = std::min(kRowsPerTask, sequence.num_rows - first), .k = k_.data() + kv_offset,
                               .v = v_.data() + kv_offset, .kv_stride = kv_width, .num_keys = sequence.num_rows,
                               .head_dim = dim, .scale = 1.0F / std::sqrt(static_cast<float>(dim)),
                               .precision = compute.precision, .out = mixed_.data() + q_offset});
    });
  }
}

}  // namespace unmask::runtime
