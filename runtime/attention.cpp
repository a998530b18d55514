// SPDX-License-Identifier: Apache-2.0
#include "runtime/attention.h"

#include <algorithm>
#include <cmath>

#include "experts/elementwise.h"
#include "runtime/kv_cache.h"

namespace unmask::runtime {
namespace {

constexpr std::int64_t kRowsPerTask = 16;
constexpr std::int64_t kQueriesPerTask = 64;  // queries of one task share each block of keys that a kernel converts

}  // namespace

Attention::Attention(const ModelConfig& config) : config_(config), rope_(config.rope_theta, config.head_dim) {}

void Attention::run(const experts::Compute& compute, const LayerWeights& layer, std::int64_t layer_index, const StepBatch& batch,
                    std::span<const TokenRow> queries, const float* x, float* out) {
  const std::int64_t rows = batch.num_rows();
  const auto num_queries = static_cast<std::int64_t>(queries.size());
  q_.grow(num_queries * layer.q_proj.rows());
  k_.grow(rows * layer.k_proj.rows());
  v_.grow(rows * layer.v_proj.rows());
  mixed_.grow(num_queries * layer.q_proj.rows());
  linear(compute, x, rows, layer.k_proj, k_.data());
  linear(compute, x, rows, layer.v_proj, v_.data());
  linear(compute, gather(queries, rows, x), num_queries, layer.q_proj, q_.data());
  mark(times_, Stage::kQkv);
  for (const auto& sequence : batch.sequences) {
    rope_.prepare(sequence.first_position + sequence.num_rows);
  }
  prepare_keys(compute, layer, layer_index, batch);
  const auto pieces = cut_queries(batch, queries);
  compute.team->for_each(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t task) {
    const Piece& piece = pieces[size(task)];
    for (std::int64_t i = piece.begin; i < piece.end; ++i) {
      prepare_heads(compute, layer.q_norm, config_.num_heads, piece.sequence->position(queries[size(i)].value),
                    q_.data() + i * config_.num_heads * config_.head_dim);
    }
  });
  mark(times_, Stage::kHeads);
  attend(compute, layer_index, pieces);
  mark(times_, Stage::kAttention);
  linear(compute, mixed_.data(), num_queries, layer.o_proj, out);
  mark(times_, Stage::kOutput);
}

const float* Attention::gather(std::span<const TokenRow> queries, std::int64_t rows, const float* x) {
  const auto count = static_cast<std::int64_t>(queries.size());
  if (count == rows) {
    return x;
  }
  const std::int64_t hidden = config_.hidden;
  asking_.grow(count * hidden);
  for (std::int64_t i = 0; i < count; ++i) {
    const float* row = x + queries[size(i)].value * hidden;
    std::copy(row, row + hidden, asking_.data() + i * hidden);
  }
  return asking_.data();
}

std::vector<Attention::Piece> Attention::cut_rows(const StepBatch& batch) {
  std::vector<Piece> pieces;
  for (const auto& sequence : batch.sequences) {
    for (std::int64_t begin = sequence.row_begin; begin < sequence.row_end(); begin += kRowsPerTask) {
      pieces.push_back({&sequence, begin, std::min(sequence.row_end(), begin + kRowsPerTask)});
    }
  }
  return pieces;
}

std::vector<Attention::Piece> Attention::cut_queries(const StepBatch& batch, std::span<const TokenRow> queries) {
  std::vector<Piece> pieces;
  std::int64_t begin = 0;
  for (const auto& sequence : batch.sequences) {
    std::int64_t end = begin;
    while (end < static_cast<std::int64_t>(queries.size()) && queries[size(end)].value < sequence.row_end()) {
      ++end;
    }
    for (; begin < end; begin = pieces.back().end) {
      pieces.push_back({&sequence, begin, std::min(end, begin + kQueriesPerTask)});
    }
  }
  return pieces;
}

void Attention::prepare_heads(const experts::Compute& compute, const std::vector<float>& norm, std::int64_t heads,
                              std::int64_t position, float* row) const {
  const std::int64_t dim = config_.head_dim;
  if (!norm.empty()) {
    compute.kernels->rms_norm({.x = row, .x_stride = dim, .rows = heads, .cols = dim, .weight = norm.data(),
                               .eps = config_.rms_norm_eps, .precision = experts::Precision::kFloat32, .y = row, .y_stride = dim});
  }
  for (std::int64_t h = 0; h < heads; ++h) {
    rope_.rotate(row + h * dim, position);
  }
  experts::round_values(row, heads * dim, compute.precision);
}

void Attention::prepare_keys(const experts::Compute& compute, const LayerWeights& layer, std::int64_t layer_index,
                             const StepBatch& batch) {
  const std::int64_t kv_width = config_.num_kv_heads * config_.head_dim;
  const auto pieces = cut_rows(batch);
  compute.team->for_each(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t task) {
    const auto& [sequence, begin, end] = pieces[size(task)];
    for (std::int64_t row = begin; row < end; ++row) {
      float* k = k_.data() + row * kv_width;
      float* v = v_.data() + row * kv_width;
      prepare_heads(compute, layer.k_norm, config_.num_kv_heads, sequence->position(row), k);
      experts::round_values(v, kv_width, compute.precision);
      if (sequence->store != nullptr) {
        sequence->store->write(layer_index, sequence->store_begin + sequence->position(row), k, v);
      }
    }
  });
}

void Attention::attend(const experts::Compute& compute, std::int64_t layer_index, const std::vector<Piece>& pieces) {
  const std::int64_t dim = config_.head_dim;
  const std::int64_t q_width = config_.num_heads * dim;
  const std::int64_t kv_width = config_.num_kv_heads * dim;
  const std::int64_t heads_per_kv = config_.num_heads / config_.num_kv_heads;
  const auto num_pieces = static_cast<std::int64_t>(pieces.size());
  compute.team->for_each(num_pieces * config_.num_heads, [&](std::int64_t task) {
    const auto& [sequence, begin, end] = pieces[size(task % num_pieces)];  // neighbours read the same keys
    const std::int64_t head = task / num_pieces;
    const std::int64_t kv_offset = sequence->row_begin * kv_width + head / heads_per_kv * dim;
    experts::AttentionProblem problem{.q = q_.data() + begin * q_width + head * dim, .q_stride = q_width, .rows = end - begin,
                                      .k = k_.data() + kv_offset, .v = v_.data() + kv_offset, .kv_stride = kv_width,
                                      .num_keys = sequence->num_rows, .head_dim = dim,
                                      .scale = 1.0F / std::sqrt(static_cast<float>(dim)), .precision = compute.precision,
                                      .out = mixed_.data() + begin * q_width + head * dim};
    if (sequence->store != nullptr) {
      sequence->store->attach({.layer = layer_index, .kv_head = head / heads_per_kv, .begin = sequence->store_begin,
                               .length = sequence->length}, problem);
    }
    compute.kernels->attend(problem);
  });
}

}  // namespace unmask::runtime
