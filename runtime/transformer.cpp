// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer.h"

#include <algorithm>

#include "base/bfloat16.h"

namespace unmask::runtime {
namespace {

constexpr std::int64_t kRowsPerTask = 64;

experts::RouterOptions router_options(const ModelConfig& config) {
  return {.top_k = config.experts_per_token,
          .weights = config.renormalise_top_k ? experts::TopKWeights::kRenormalised : experts::TopKWeights::kAsTheyAre};
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, const ModelWeights& weights, comm::Exchange& exchange,
                         experts::Compute compute)
    : config_(config),
      weights_(weights),
      exchange_(exchange),
      compute_(compute),
      attention_(config),
      router_(router_options(config)),
      head_(weights.head, compute),
      router_counts_(size(config.num_layers * config.num_experts)) {}

Transformer::Outcome Transformer::forward(const StepBatch& batch, comm::Vote vote) {
  std::fill(router_counts_.begin(), router_counts_.end(), 0);
  embed(batch);
  comm::Vote votes = comm::Vote::kIdle;
  for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
    const LayerWeights& layer = weights_.layers[i];
    attention_layer(layer, batch);
    votes = moe_layer(layer, router_counts_.data() + i * size(config_.num_experts), batch.num_rows(), vote);
    if (!has(votes, comm::Vote::kWork)) {
      return {.votes = votes, .rows = {}};
    }
  }
  return {.votes = votes, .rows = wanted_rows(batch)};
}

void Transformer::embed(const StepBatch& batch) {
  const std::int64_t hidden = config_.hidden;
  residual_.grow(batch.num_rows() * hidden);
  normed_.grow(batch.num_rows() * hidden);
  update_.grow(batch.num_rows() * hidden);
  for (std::int64_t r = 0; r < batch.num_rows(); ++r) {
    const TokenId token = batch.tokens[size(r)];
    UNMASK_CHECK(token >= 0 && token < config_.vocab_size, "token {} of {}", token, config_.vocab_size);
    const bfloat16* row = weights_.embedding.row(token);
    std::transform(row, row + hidden, residual_.data() + r * hidden, to_float);
  }
}

void Transformer::attention_layer(const LayerWeights& layer, const StepBatch& batch) {
  const std::int64_t rows = batch.num_rows();
  rms_norm_rows(compute_, residual_.data(), rows, layer.input_norm, config_.rms_norm_eps, compute_.precision, normed_.data());
  attention_.run(compute_, layer, batch, normed_.data(), update_.data());
  add_to_residual(update_.data(), rows);
}

comm::Vote Transformer::moe_layer(const LayerWeights& layer, std::int64_t* counts, std::int64_t rows, comm::Vote vote) {
  rms_norm_rows(compute_, residual_.data(), rows, layer.post_attention_norm, config_.rms_norm_eps,
                experts::Precision::kFloat32, normed_.data());
  const cluster::Routing routing = router_.route(compute_, normed_.data(), rows, layer.router);  // sees unrounded rows
  for (const ExpertId expert : routing.ids) {
    ++counts[expert.at()];
  }
  if (compute_.precision == experts::Precision::kBfloat16) {
    std::transform(normed_.data(), normed_.data() + rows * config_.hidden, normed_.data(), round_to_bfloat16);
  }
  const auto values = size(rows * config_.hidden);
  const auto arrived = exchange_.dispatch({normed_.data(), values}, routing, vote);
  const auto slots = experts_.run(compute_, layer.experts, config_.hidden, arrived.work);
  exchange_.combine(slots, {update_.data(), values});
  add_to_residual(update_.data(), rows);
  return arrived.votes;
}

std::span<const float> Transformer::wanted_rows(const StepBatch& batch) {
  const std::int64_t hidden = config_.hidden;
  const auto count = static_cast<std::int64_t>(batch.wanted.size());
  for (std::int64_t i = 0; i < count; ++i) {
    const float* row = residual_.data() + batch.wanted[size(i)].value * hidden;
    std::copy(row, row + hidden, update_.data() + i * hidden);
  }
  rms_norm_rows(compute_, update_.data(), count, weights_.final_norm, config_.rms_norm_eps, compute_.precision,
                normed_.data());
  return {normed_.data(), size(count * hidden)};
}

void Transformer::add_to_residual(const float* x, std::int64_t rows) {
  const std::int64_t hidden = config_.hidden;
  compute_.team->for_each((rows + kRowsPerTask - 1) / kRowsPerTask, [&](std::int64_t task) {
    const std::int64_t begin = task * kRowsPerTask * hidden;
    const std::int64_t end = std::min(rows, (task + 1) * kRowsPerTask) * hidden;
    for (std::int64_t i = begin; i < end; ++i) {
      residual_.data()[i] += x[i];
    }
  });
}

}  // namespace unmask::runtime
