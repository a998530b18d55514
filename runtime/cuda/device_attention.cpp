// SPDX-License-Identifier: Apache-2.0
// A layer of DeviceTransformer in front of its experts: projections, heads, attention.
#include <cmath>

#include "runtime/cuda/device_transformer.h"

namespace unmask::runtime::cuda {
namespace {

using experts::cuda::Count;
using experts::cuda::DenseProblem;
using experts::cuda::HeadsProblem;

/// What all of a layer's heads have in common.
HeadsProblem heads_of(const ModelConfig& config, const DeviceLayer& layer, std::int64_t index, const StepTables& tables, const float* projected,
                      experts::cuda::Outputs queries) {
  const bool has_norm = layer.q_norm.capacity() > 0;
  return {.qkv = projected, .num_heads = config.num_heads, .num_kv_heads = config.num_kv_heads, .head_dim = config.head_dim, .layer = index,
          .rows = tables.rows(), .sequence_of = tables.arrays().sequence_of, .positions = tables.arrays().positions,
          .sequences = tables.arrays().sequences, .parts = HeadsProblem::Parts::kAll, .q_norm = has_norm ? layer.q_norm.data() : nullptr,
          .k_norm = has_norm ? layer.k_norm.data() : nullptr, .eps = config.rms_norm_eps, .cos = tables.cos(), .sin = tables.sin(), .q = queries};
}

}  // namespace

void DeviceTransformer::attend(std::int64_t index, std::size_t, Rows asking) {
  const DeviceLayer& layer = weights_.layers[size(index)];
  const bool all = asking == Rows::kAll;
  all ? project_all(layer, index) : project_last(layer, index);
  marked(Stage::kQkv);
  const auto& a = tables_.arrays();
  experts::cuda::attend({.q = values(queries_), .num_heads = config_.num_heads, .num_kv_heads = config_.num_kv_heads,
                         .head_dim = config_.head_dim, .layer = index, .num_tasks = all ? tables_.tasks() : tables_.wanted_tasks(),
                         .tasks = all ? a.tasks : a.wanted_tasks, .sequences = a.sequences,
                         .scale = 1.0F / std::sqrt(static_cast<float>(config_.head_dim)), .out = values(mixed_)},
                        stream_.get());
  marked(Stage::kAttention);
  multiply(values(mixed_), layer.output.data(), all ? tables_.rows() : tables_.wanted(), config_.hidden, query_width(),
           DenseProblem::Store::kAdd, residual(asking));
  marked(Stage::kOutput);
}

void DeviceTransformer::project_all(const DeviceLayer& layer, std::int64_t index) {
  experts::cuda::rms_norm({.x = residual_.data(), .cols = config_.hidden, .rows = tables_.rows(), .picked = nullptr,
                           .weight = layer.input_norm.data(), .eps = config_.rms_norm_eps, .y = values(normed_)},
                          stream_.get());
  marked(Stage::kNorms);
  multiply(values(normed_), layer.qkv.data(), tables_.rows(), query_width() + 2 * key_width(), config_.hidden, DenseProblem::Store::kWrite,
           projected_.data());
  experts::cuda::prepare_heads(heads_of(config_, layer, index, tables_, projected_.data(), values(queries_)), stream_.get());
}

/// Keys and values of all rows, queries of the wanted ones, whose residuals alone go on.
void DeviceTransformer::project_last(const DeviceLayer& layer, std::int64_t index) {
  const auto& a = tables_.arrays();
  const auto norm = [&](const Count& rows, const std::int32_t* picked) {
    experts::cuda::rms_norm({.x = residual_.data(), .cols = config_.hidden, .rows = rows, .picked = picked, .weight = layer.input_norm.data(),
                             .eps = config_.rms_norm_eps, .y = values(normed_)},
                            stream_.get());
  };
  norm(tables_.rows(), nullptr);
  multiply(values(normed_), layer.qkv.data() + query_width() * config_.hidden, tables_.rows(), 2 * key_width(), config_.hidden,
           DenseProblem::Store::kWrite, projected_.data());
  HeadsProblem heads = heads_of(config_, layer, index, tables_, projected_.data(), values(queries_));
  heads.parts = HeadsProblem::Parts::kKeysAndValues;
  experts::cuda::prepare_heads(heads, stream_.get());
  norm(tables_.wanted(), a.wanted);
  experts::cuda::gather_rows({.x = residual_.data(), .cols = config_.hidden, .rows = tables_.wanted(), .picked = a.wanted, .y = asking_.data()},
                             stream_.get());
  multiply(values(normed_), layer.qkv.data(), tables_.wanted(), query_width(), config_.hidden, DenseProblem::Store::kWrite, projected_.data());
  heads.parts = HeadsProblem::Parts::kQueries;
  heads.rows = tables_.wanted();
  heads.positions = a.wanted_positions;
  experts::cuda::prepare_heads(heads, stream_.get());
}

}  // namespace unmask::runtime::cuda
