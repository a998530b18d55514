// SPDX-License-Identifier: Apache-2.0
#include "runtime/transformer.h"

#include <algorithm>
#include <utility>

#include "base/bfloat16.h"
#include "runtime/guidance.h"

namespace unmask::runtime {
namespace {

constexpr std::int64_t kRowsPerTask = 64;

experts::RouterOptions router_options(const ModelConfig& config) {
  return {.top_k = config.experts_per_token,
          .weights = config.renormalise_top_k ? experts::TopKWeights::kRenormalised : experts::TopKWeights::kAsTheyAre};
}

}  // namespace

Transformer::Transformer(const ModelConfig& config, const ModelWeights& weights, comm::Exchange& exchange,
                         experts::Compute compute, const MicroBatching& micro_batching)
    : config_(config),
      weights_(weights),
      exchange_(exchange),
      compute_(compute),
      attention_(config),
      router_(router_options(config)),
      head_(weights.head, weights.embedding, compute),
      router_counts_(size(config.num_layers * config.num_experts)),
      micro_batching_(micro_batching) {}

/// The first layer runs as one: with its counts all ranks learn whether two micro-batches pay.
Transformer::Outcome Transformer::forward(const StepBatch& batch, comm::Vote vote) {
  std::fill(router_counts_.begin(), router_counts_.end(), 0);
  embed(batch);
  mark(times_, Stage::kEmbedding);
  const BatchCut cut(batch);
  const bool is_divisible = config_.num_layers > 1;
  comm::Census census;
  std::span<MicroBatch> parts = as_one(batch);
  for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
    for (MicroBatch& part : parts) {  // while the other's rows and sums travel
      combine(part);
      attention_layer(layer, part);
      dispatch(layer, part, {.vote = vote, .first_half = is_divisible && layer == 0 ? cut.first_half() : 0});
    }
    for (MicroBatch& part : parts) {
      census = run_experts(layer, part);
    }
    if (layer == 0 && !has(census.votes, comm::Vote::kWork)) {
      combine(parts.front());
      return {.votes = census.votes, .rows = {}};
    }
    if (layer == 0 && is_divisible && runs_as_two(micro_batching_, census, config_, *compute_.kernels)) {
      parts = as_two(cut);
    }
  }
  std::for_each(parts.begin(), parts.end(), [this](MicroBatch& part) { combine(part); });
  const std::span<const float> rows = final_rows(batch);
  mark(times_, Stage::kNorms);
  return {.votes = census.votes, .rows = rows};
}

void Transformer::embed(const StepBatch& batch) {
  const std::int64_t hidden = config_.hidden;
  residual_.grow(batch.num_rows() * hidden);
  normed_.grow(batch.num_rows() * hidden);
  for (const TokenId token : batch.tokens) {
    UNMASK_CHECK(token >= 0 && token < config_.vocab_size, "token {} of {}", token, config_.vocab_size);
  }
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
}

std::span<MicroBatch> Transformer::as_one(const StepBatch& batch) {
  parts_.clear();
  parts_.push_back(make_part(batch, 0, nullptr));
  return parts_;
}

std::span<MicroBatch> Transformer::as_two(const BatchCut& cut) {
  combine(parts_.front());
  parts_.clear();
  for (const std::size_t which : {0U, 1U}) {
    halves_[which] = cut.half(which);
    parts_.push_back(make_part(halves_[which], which, which == 0 ? nullptr : &parts_.front()));
  }
  return parts_;
}

MicroBatch Transformer::make_part(const StepBatch& batch, std::size_t which, const MicroBatch* before) {
  MicroBatch part{.batch = &batch, .exchange = which == 0 ? &exchange_ : &exchange_.twin(), .experts = &experts_[which],
                  .begin = before == nullptr ? 0 : before->batch->num_rows(),
                  .wanted_begin = before == nullptr ? 0 : std::ssize(before->batch->wanted), .all_rows = {}};
  for (std::int64_t row = 0; row < batch.num_rows(); ++row) {
    part.all_rows.emplace_back(row);
  }
  return part;
}

/// Past the last layer's keys and values nobody reads a row that is not wanted: the wanted ones of all parts move to the front.
void Transformer::attention_layer(std::int64_t layer_index, MicroBatch& part) {
  const LayerWeights& layer = weights_.layers[size(layer_index)];
  const bool is_last = layer_index + 1 == config_.num_layers;
  const std::span<const TokenRow> queries = is_last ? part.batch->wanted : part.all_rows;
  attention_.run(compute_, layer, layer_index, *part.batch, queries, residual_.data() + part.begin * config_.hidden);
  if (is_last) {
    keep_residuals(queries, std::exchange(part.begin, part.wanted_begin), part.wanted_begin);
  }
  part.num_rows = std::ssize(queries);
  attention_.add_output(compute_, layer, residual_.data() + part.begin * config_.hidden);
}

/// Moves these rows, which ascend, from where they are counted to the front or nearer to it.
void Transformer::keep_residuals(std::span<const TokenRow> rows, std::int64_t from, std::int64_t to) {
  const std::int64_t hidden = config_.hidden;
  for (std::int64_t i = 0; i < std::ssize(rows); ++i) {
    if (const std::int64_t row = from + rows[size(i)].value; row > to + i) {
      std::copy_n(residual_.data() + row * hidden, hidden, residual_.data() + (to + i) * hidden);
    }
  }
}

void Transformer::dispatch(std::int64_t layer_index, MicroBatch& part, const comm::Notice& notice) {
  const LayerWeights& layer = weights_.layers[size(layer_index)];
  const std::int64_t begin = part.begin * config_.hidden;
  const experts::NormedRows normed{.x = residual_.data() + begin, .rows = part.num_rows, .weight = layer.post_attention_norm, .eps = config_.rms_norm_eps};
  const cluster::Routing routing = router_.route_normed(compute_, normed, layer.router, normed_.data() + begin);
  for (const ExpertId expert : routing.ids) {
    ++router_counts_[size(layer_index * config_.num_experts) + expert.at()];
  }
  mark(times_, Stage::kRouter);
  part.exchange->dispatch({normed_.data() + begin, size(part.num_rows * config_.hidden)}, routing, notice);
  part.is_under_way = true;
  mark(times_, Stage::kExchange);
}

comm::Census Transformer::run_experts(std::int64_t layer_index, MicroBatch& part) {
  const comm::Census census = part.exchange->arrive();
  for (std::int64_t chunk = 0; chunk < part.exchange->num_chunks(); ++chunk) {
    const cluster::ExpertWork work = part.exchange->receive(chunk);
    mark(times_, Stage::kExchange);
    const std::span<const float> slots = part.experts->run(compute_, weights_.layers[size(layer_index)].experts, config_.hidden, work);
    mark(times_, Stage::kExperts);
    part.exchange->give_back(chunk, slots);
  }
  mark(times_, Stage::kExchange);
  return census;
}

/// Adds what the experts of the layer before say, if there is one.
void Transformer::combine(MicroBatch& part) {
  if (std::exchange(part.is_under_way, false)) {
    part.exchange->combine({residual_.data() + part.begin * config_.hidden, size(part.num_rows * config_.hidden)});
    mark(times_, Stage::kExchange);
  }
}

std::span<const float> Transformer::final_rows(const StepBatch& batch) {
  const auto rows = static_cast<std::int64_t>(batch.wanted.size());
  const auto precision = batch.guided.empty() ? compute_.precision : experts::Precision::kFloat32;
  rms_norm_rows(compute_, {.x = residual_.data(), .rows = rows, .weight = weights_.final_norm, .eps = config_.rms_norm_eps}, precision,
                normed_.data());
  if (batch.guided.empty()) {
    return {normed_.data(), size(rows * config_.hidden)};
  }
  const std::span<float> left = join_sides({normed_.data(), size(rows * config_.hidden)}, config_.hidden, batch.guided);
  if (compute_.precision == experts::Precision::kBfloat16) {
    std::transform(left.begin(), left.end(), left.begin(), round_to_bfloat16);
  }
  return left;
}

}  // namespace unmask::runtime
