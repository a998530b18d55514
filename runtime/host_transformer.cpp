// SPDX-License-Identifier: Apache-2.0
#include "runtime/host_transformer.h"

#include <algorithm>

#include "base/bfloat16.h"
#include "experts/elementwise.h"
#include "runtime/guidance.h"

namespace unmask::runtime {
namespace {

constexpr std::int64_t kRowsPerTask = 64;

experts::RouterOptions router_options(const ModelConfig& config) {
  return {.top_k = config.experts_per_token,
          .weights = config.renormalise_top_k ? experts::TopKWeights::kRenormalised : experts::TopKWeights::kAsTheyAre};
}

}  // namespace

HostTransformer::HostTransformer(const ModelConfig& config, const ModelWeights& weights, comm::Exchange& exchange,
                                 const experts::Compute& compute)
    : Transformer(config, compute),
      weights_(weights),
      exchange_(exchange),
      attention_(config),
      router_(router_options(config)),
      head_(weights.head, weights.embedding, compute),
      router_counts_(size(config.num_layers * config.num_experts)) {}

void HostTransformer::measure(StageTimes* times) {
  Transformer::measure(times);
  attention_.measure(times);
}

std::vector<float> HostTransformer::logits(std::int64_t begin, std::int64_t end) {
  return head_.logits(wanted_rows_.subspan(size(begin * config_.hidden), size((end - begin) * config_.hidden)));
}

void HostTransformer::begin(const StepBatch& batch, comm::Vote vote) {
  batch_ = &batch;
  vote_ = vote;
  votes_ = comm::Vote::kIdle;
  wanted_rows_ = {};
  std::fill(router_counts_.begin(), router_counts_.end(), 0);
  all_rows_.clear();
  for (std::int64_t r = 0; r < batch.num_rows(); ++r) {
    all_rows_.emplace_back(r);
    const TokenId token = batch.tokens[size(r)];
    UNMASK_CHECK(token >= 0 && token < config_.vocab_size, "token {} of {}", token, config_.vocab_size);
  }
}

void HostTransformer::embed() {
  const StepBatch& batch = *batch_;
  const std::int64_t hidden = config_.hidden;
  residual_.grow(batch.num_rows() * hidden);
  normed_.grow(batch.num_rows() * hidden);
  update_.grow(batch.num_rows() * hidden);
  compute_.team->for_each(experts::whole(batch.num_rows(), kRowsPerTask), [&](std::int64_t task) {
    for (std::int64_t r = task * kRowsPerTask; r < std::min(batch.num_rows(), (task + 1) * kRowsPerTask); ++r) {
      const bfloat16* row = weights_.embedding.row(batch.tokens[size(r)]);
      std::transform(row, row + hidden, residual_.data() + r * hidden, to_float);
    }
  });
  for (const auto& [row, weight, values] : batch.added) {
    float* x = residual_.data() + row.value * hidden;
    for (std::size_t i = 0; i < values.size(); ++i) {
      x[i] += weight * values[i];
    }
  }
  mark(times_, Stage::kEmbedding);
}

void HostTransformer::attend(std::int64_t layer_index, Rows asking) {
  const LayerWeights& layer = weights_.layers[size(layer_index)];
  const std::span<const TokenRow> queries = rows_of(asking);
  attention_.run(compute_, layer, layer_index, *batch_, queries, residual_.data());
  keep_residuals(queries);
  attention_.add_output(compute_, layer, residual_.data());
}

/// Moves these rows, which ascend, to the front.
void HostTransformer::keep_residuals(std::span<const TokenRow> rows) {
  const std::int64_t hidden = config_.hidden;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(rows.size()); ++i) {
    if (const std::int64_t row = rows[size(i)].value; row > i) {
      std::copy_n(residual_.data() + row * hidden, hidden, residual_.data() + i * hidden);
    }
  }
}

bool HostTransformer::run_experts(std::int64_t layer_index, Rows asking) {
  const LayerWeights& layer = weights_.layers[size(layer_index)];
  const auto rows = static_cast<std::int64_t>(rows_of(asking).size());
  const experts::NormedRows normed{.x = residual_.data(), .rows = rows, .weight = layer.post_attention_norm, .eps = config_.rms_norm_eps};
  const cluster::Routing routing = router_.route_normed(compute_, normed, layer.router, normed_.data());
  for (const ExpertId expert : routing.ids) {
    ++router_counts_[size(layer_index * config_.num_experts) + expert.at()];
  }
  mark(times_, Stage::kRouter);
  const auto values = size(rows * config_.hidden);
  votes_ = exchange_.dispatch({normed_.data(), values}, routing, vote_);
  for (std::int64_t chunk = 0; chunk < exchange_.num_chunks(); ++chunk) {
    const cluster::ExpertWork work = exchange_.receive(chunk);
    mark(times_, Stage::kExchange);
    const std::span<const float> slots = experts_.run(compute_, layer.experts, config_.hidden, work);
    mark(times_, Stage::kExperts);
    exchange_.give_back(chunk, slots);
  }
  exchange_.combine({update_.data(), values});
  mark(times_, Stage::kExchange);
  experts::add_rows(compute_, update_.data(), rows, config_.hidden, residual_.data());
  mark(times_, Stage::kResidual);
  return has(votes_, comm::Vote::kWork);
}

void HostTransformer::norm_wanted() {
  const StepBatch& batch = *batch_;
  const auto rows = static_cast<std::int64_t>(batch.wanted.size());
  const auto precision = batch.guided.empty() ? compute_.precision : experts::Precision::kFloat32;
  rms_norm_rows(compute_, {.x = residual_.data(), .rows = rows, .weight = weights_.final_norm, .eps = config_.rms_norm_eps}, precision,
                normed_.data());
  const std::span<float> all(normed_.data(), size(rows * config_.hidden));
  wanted_rows_ = all;
  if (!batch.guided.empty()) {
    const std::span<float> left = join_sides(all, config_.hidden, batch.guided);
    if (compute_.precision == experts::Precision::kBfloat16) {
      std::transform(left.begin(), left.end(), left.begin(), round_to_bfloat16);
    }
    wanted_rows_ = left;
  }
  mark(times_, Stage::kNorms);
}

}  // namespace unmask::runtime
