// SPDX-License-Identifier: Apache-2.0
#include "runtime/host_transformer.h"

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

HostTransformer::HostTransformer(const ModelConfig& config, const ModelWeights& weights, comm::Exchange& exchange,
                                 const experts::Compute& compute, const MicroBatching& micro_batching)
    : Transformer(config, compute),
      weights_(weights),
      exchange_(exchange),
      attention_(config),
      router_(router_options(config)),
      head_(weights.head, weights.embedding, compute),
      router_counts_(size(config.num_layers * config.num_experts)),
      micro_batching_(micro_batching) {}

void HostTransformer::measure(StageTimes* times) {
  Transformer::measure(times);
  attention_.measure(times);
}

std::vector<float> HostTransformer::logits(std::int64_t begin, std::int64_t end) {
  return head_.logits(wanted_rows_.subspan(size(begin * config_.hidden), size((end - begin) * config_.hidden)));
}

/// The first layer runs as one: with its counts all ranks learn whether two micro-batches pay.
void HostTransformer::begin(const StepBatch& batch, comm::Vote vote) {
  batch_ = &batch;
  vote_ = vote;
  census_ = {};
  wanted_rows_ = {};
  std::fill(router_counts_.begin(), router_counts_.end(), 0);
  for (const TokenId token : batch.tokens) {
    UNMASK_CHECK(token >= 0 && token < config_.vocab_size, "token {} of {}", token, config_.vocab_size);
  }
  cut_.emplace(batch);
  parts_.clear();
  parts_.push_back(make_part(batch, 0, nullptr));
}

MicroBatch HostTransformer::make_part(const StepBatch& batch, std::size_t which, const MicroBatch* before) {
  MicroBatch part{.batch = &batch, .exchange = which == 0 ? &exchange_ : &exchange_.twin(), .experts = &experts_[which],
                  .begin = before == nullptr ? 0 : before->batch->num_rows(),
                  .wanted_begin = before == nullptr ? 0 : std::ssize(before->batch->wanted), .all_rows = {}};
  for (std::int64_t row = 0; row < batch.num_rows(); ++row) {
    part.all_rows.emplace_back(row);
  }
  return part;
}

void HostTransformer::divide() {
  if (config_.num_layers == 1 || !runs_as_two(micro_batching_, census_, config_, *compute_.kernels)) {
    return;
  }
  combine(0);
  parts_.clear();
  for (const std::size_t which : {0U, 1U}) {
    halves_[which] = cut_->half(which);
    parts_.push_back(make_part(halves_[which], which, which == 0 ? nullptr : &parts_.front()));
  }
}

void HostTransformer::embed() {
  const StepBatch& batch = *batch_;
  const std::int64_t hidden = config_.hidden;
  residual_.grow(batch.num_rows() * hidden);
  normed_.grow(batch.num_rows() * hidden);
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

/// The wanted rows of all parts move to the front.
void HostTransformer::attend(std::int64_t layer_index, std::size_t which, Rows asking) {
  const LayerWeights& layer = weights_.layers[size(layer_index)];
  MicroBatch& part = parts_[which];
  const std::span<const TokenRow> queries = asking == Rows::kAll ? part.all_rows : part.batch->wanted;
  attention_.run(compute_, layer, layer_index, *part.batch, queries, residual_.data() + part.begin * config_.hidden);
  if (asking == Rows::kWanted) {
    keep_residuals(queries, std::exchange(part.begin, part.wanted_begin), part.wanted_begin);
  }
  part.num_rows = std::ssize(queries);
  attention_.add_output(compute_, layer, residual_.data() + part.begin * config_.hidden);
}

/// Moves these rows, which ascend, from where they are counted to the front or nearer to it.
void HostTransformer::keep_residuals(std::span<const TokenRow> rows, std::int64_t from, std::int64_t to) {
  const std::int64_t hidden = config_.hidden;
  for (std::int64_t i = 0; i < std::ssize(rows); ++i) {
    if (const std::int64_t row = from + rows[size(i)].value; row > to + i) {
      std::copy_n(residual_.data() + row * hidden, hidden, residual_.data() + (to + i) * hidden);
    }
  }
}

void HostTransformer::dispatch(std::int64_t layer_index, std::size_t which, Rows) {
  const LayerWeights& layer = weights_.layers[size(layer_index)];
  MicroBatch& part = parts_[which];
  const std::int64_t begin = part.begin * config_.hidden;
  const experts::NormedRows normed{.x = residual_.data() + begin, .rows = part.num_rows, .weight = layer.post_attention_norm, .eps = config_.rms_norm_eps};
  const cluster::Routing routing = router_.route_normed(compute_, normed, layer.router, normed_.data() + begin);
  for (const ExpertId expert : routing.ids) {
    ++router_counts_[size(layer_index * config_.num_experts) + expert.at()];
  }
  mark(times_, Stage::kRouter);
  const bool may_divide = config_.num_layers > 1 && layer_index == 0;
  part.exchange->dispatch({normed_.data() + begin, size(part.num_rows * config_.hidden)}, routing,
                          {.vote = vote_, .first_half = may_divide ? cut_->first_half() : 0});
  part.is_under_way = true;
  mark(times_, Stage::kExchange);
}

void HostTransformer::run_experts(std::int64_t layer_index, std::size_t which, Rows) {
  MicroBatch& part = parts_[which];
  census_ = part.exchange->arrive();
  for (std::int64_t chunk = 0; chunk < part.exchange->num_chunks(); ++chunk) {
    const cluster::ExpertWork work = part.exchange->receive(chunk);
    mark(times_, Stage::kExchange);
    const std::span<const float> slots = part.experts->run(compute_, weights_.layers[size(layer_index)].experts, config_.hidden, work);
    mark(times_, Stage::kExperts);
    part.exchange->give_back(chunk, slots);
  }
  mark(times_, Stage::kExchange);
}

void HostTransformer::combine(std::size_t which) {
  MicroBatch& part = parts_[which];
  if (std::exchange(part.is_under_way, false)) {
    part.exchange->combine({residual_.data() + part.begin * config_.hidden, size(part.num_rows * config_.hidden)});
    mark(times_, Stage::kExchange);
  }
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
