// SPDX-License-Identifier: Apache-2.0
#include "runtime/attention.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/kv_cache.h"

namespace unmask::runtime {
namespace {

constexpr std::int64_t kOutputsPerTask = 64;  // of a projection, at least: heads may be narrow
constexpr std::int64_t kQueriesPerTask = 64;  // at least: queries of one task share the keys that a kernel packs
constexpr std::int64_t kTasksPerThread = 4;

}  // namespace

Attention::Attention(const ModelConfig& config) : config_(config), rope_(config.rope_theta, config.head_dim) {}

void Attention::run(const experts::Compute& compute, const LayerWeights& layer, std::int64_t layer_index, const StepBatch& batch,
                    std::span<const TokenRow> queries, const float* x) {
  begin(compute, batch, queries);
  const auto normed = [&](const float* rows, std::int64_t count) {
    return experts::NormedRows{.x = rows, .rows = count, .weight = layer.input_norm, .eps = config_.rms_norm_eps};
  };
  const bool all_ask = num_queries_ == num_rows_;
  normed_.take_normed(compute, normed(x, num_rows_), layer.k_proj);
  if (!all_ask) {
    normed_asking_.take_normed(compute, normed(gather(queries, x), num_queries_), layer.q_proj);
  }
  mark(times_, Stage::kNorms);
  std::vector<Heads> heads = cut_heads(Role::kKey, layer.k_proj);
  const std::vector<Heads> values = cut_heads(Role::kValue, layer.v_proj);
  const std::vector<Heads> asking = cut_heads(Role::kQuery, layer.q_proj);
  heads.insert(heads.end(), values.begin(), values.end());
  if (all_ask) {
    heads.insert(heads.end(), asking.begin(), asking.end());
  }
  project(compute, layer, layer_index, batch, normed_, heads);
  if (!all_ask) {
    project(compute, layer, layer_index, batch, normed_asking_, asking);
  }
  mark(times_, Stage::kQkv);
  attend(compute, layer_index, cut_queries(batch, queries, queries_per_task(compute)));
  mark(times_, Stage::kAttention);
}

void Attention::add_output(const experts::Compute& compute, const LayerWeights& layer, float* residual) {
  mixed_input_.take(compute, mixed_.data(), num_queries_, layer.o_proj);
  linear_add(compute, mixed_input_, layer.o_proj, buffers_, residual);
  mark(times_, Stage::kOutput);
}

void Attention::begin(const experts::Compute& compute, const StepBatch& batch, std::span<const TokenRow> queries) {
  precision_ = compute.precision;
  num_rows_ = batch.num_rows();
  num_queries_ = static_cast<std::int64_t>(queries.size());
  positions_.clear();
  for (const auto& sequence : batch.sequences) {
    rope_.prepare(sequence.first_position + sequence.num_rows);
    for (std::int64_t i = 0; i < sequence.num_rows; ++i) {
      positions_.push_back(sequence.first_position + i);
    }
  }
  query_positions_.clear();
  for (const TokenRow row : queries) {
    query_positions_.push_back(positions_[row.at()]);
  }
  q_.grow(num_queries_ * config_.num_heads * config_.head_dim);
  mixed_.grow(num_queries_ * config_.num_heads * config_.head_dim);
  own_.reshape({.precision = compute.precision, .num_heads = config_.num_kv_heads, .length = num_rows_, .head_dim = config_.head_dim});
}

const float* Attention::gather(std::span<const TokenRow> queries, const float* x) {
  const std::int64_t hidden = config_.hidden;
  asking_.grow(num_queries_ * hidden);
  for (std::int64_t i = 0; i < num_queries_; ++i) {
    std::copy_n(x + queries[size(i)].value * hidden, hidden, asking_.data() + i * hidden);
  }
  return asking_.data();
}

std::int64_t Attention::queries_per_task(const experts::Compute& compute) const {
  const std::int64_t num_tasks = kTasksPerThread * compute.team->size();
  return std::max<std::int64_t>(1, experts::whole(num_queries_ * config_.num_heads, num_tasks * kQueriesPerTask)) * kQueriesPerTask;
}

std::vector<Attention::Piece> Attention::cut_rows(const StepBatch& batch, std::int64_t begin, std::int64_t end) {
  std::vector<Piece> pieces;
  for (const auto& sequence : batch.sequences) {
    const Piece piece{&sequence, std::max(begin, sequence.row_begin), std::min(end, sequence.row_end())};
    if (piece.begin < piece.end) {
      pieces.push_back(piece);
    }
  }
  return pieces;
}

std::vector<Attention::Piece> Attention::cut_queries(const StepBatch& batch, std::span<const TokenRow> queries, std::int64_t most) {
  std::vector<Piece> pieces;
  std::int64_t begin = 0;
  for (const auto& sequence : batch.sequences) {
    std::int64_t end = begin;
    while (end < static_cast<std::int64_t>(queries.size()) && queries[size(end)].value < sequence.row_end()) {
      ++end;
    }
    for (; begin < end; begin = pieces.back().end) {
      pieces.push_back({&sequence, begin, std::min(end, begin + most)});
    }
  }
  return pieces;
}

std::vector<Attention::Heads> Attention::cut_heads(Role role, const experts::Matrix& weight) const {
  const std::int64_t dim = config_.head_dim;
  const std::int64_t num_heads = weight.rows() / dim;
  const std::int64_t step = experts::kPanelRows / std::gcd(dim, experts::kPanelRows);
  const std::int64_t count = experts::whole(kOutputsPerTask, step * dim) * step;
  std::vector<Heads> heads;
  for (std::int64_t first = 0; first < num_heads; first += count) {
    heads.push_back({role, &weight, first, std::min(count, num_heads - first)});
  }
  return heads;
}

/// All heads of some rows, then of the next: these stay in a second cache while the weights pass by, and a projected head until
/// it is finished.
void Attention::project(const experts::Compute& compute, const LayerWeights& layer, std::int64_t layer_index, const StepBatch& batch,
                        const experts::LinearInput& input, const std::vector<Heads>& heads) {
  const std::int64_t dim = config_.head_dim;
  const auto num_columns = static_cast<std::int64_t>(heads.size());
  buffers_.resize(size(compute.team->size()));
  compute.team->for_each_on(experts::whole(input.rows(), input.rows_at_once()) * num_columns, [&](std::int64_t task, int member) {
    const Heads& some = heads[size(task % num_columns)];
    const std::int64_t width = some.count * dim;
    const std::int64_t begin = task / num_columns * input.rows_at_once();
    const std::int64_t end = std::min(input.rows(), begin + input.rows_at_once());
    auto& room = buffers_[size(member)];
    room.grow((end - begin) * width);
    const Heads& next = heads[size((task + compute.team->size()) % num_columns)];  // if all threads take turns
    input.multiply(*some.weight, {.row_begin = begin, .row_end = end, .n_begin = some.first * dim, .n_end = some.first * dim + width,
                                  .y = room.data(), .y_stride = width, .next = experts::LinearInput::weights_at(*next.weight, next.first * dim)});
    const bool is_query = some.role == Role::kQuery;  // keys and values may go to stores
    for (const Piece& rows : is_query ? std::vector<Piece>{{nullptr, begin, end}} : cut_rows(batch, begin, end)) {
      for (std::int64_t h = 0; h < some.count; ++h) {
        finish(*compute.kernels, layer, layer_index,
               {some.role, some.first + h, rows, room.data() + (rows.begin - begin) * width + h * dim, width});
      }
    }
  });
}

void Attention::finish(const experts::KernelFamily& kernels, const LayerWeights& layer, std::int64_t layer_index, const Projected& p) {
  const auto& norm = p.role == Role::kQuery ? layer.q_norm : layer.k_norm;
  const bool turns = p.role != Role::kValue;
  experts::HeadProblem problem{.x = p.x, .x_stride = p.x_stride, .rows = p.rows.end - p.rows.begin, .dim = config_.head_dim,
                               .norm = turns && !norm.empty() ? norm.data() : nullptr, .eps = config_.rms_norm_eps,
                               .cos = turns ? rope_.cos() : nullptr, .sin = turns ? rope_.sin() : nullptr,
                               .positions = (p.role == Role::kQuery ? query_positions_ : positions_).data() + p.rows.begin,
                               .precision = precision_, .y = nullptr, .y16 = nullptr};
  if (p.role == Role::kQuery) {
    problem.y = q_.data() + (p.head * num_queries_ + p.rows.begin) * config_.head_dim;
  } else {
    KvStore* const store = p.rows.sequence->store;
    KeyValues& all = store != nullptr ? store->all() : own_;
    const std::int64_t head = store != nullptr ? store->head(layer_index, p.head) : p.head;
    const std::int64_t at = store != nullptr ? p.rows.sequence->store_begin + p.rows.sequence->position(p.rows.begin) : p.rows.begin;
    const KeyValues::Place place = p.role == Role::kKey ? all.keys(head, at) : all.values(head, at);
    problem.y = place.wide;
    problem.y16 = place.narrow;
  }
  kernels.prepare_head(problem);
}

void Attention::attend(const experts::Compute& compute, std::int64_t layer_index, const std::vector<Piece>& pieces) {
  const std::int64_t dim = config_.head_dim;
  const std::int64_t heads_per_kv = config_.num_heads / config_.num_kv_heads;
  const auto num_pieces = static_cast<std::int64_t>(pieces.size());
  workspaces_.resize(size(compute.team->size()));
  compute.team->for_each_on(num_pieces * config_.num_heads, [&](std::int64_t task, int member) {
    const auto& [sequence, begin, end] = pieces[size(task % num_pieces)];  // neighbours read the same keys
    const std::int64_t head = task / num_pieces;
    experts::AttentionProblem problem{.q = q_.data() + (head * num_queries_ + begin) * dim, .q_stride = dim, .rows = end - begin,
                                      .k = nullptr, .v = nullptr, .kv_stride = dim, .num_keys = 0, .head_dim = dim,
                                      .scale = 1.0F / std::sqrt(static_cast<float>(dim)), .precision = compute.precision,
                                      .out = mixed_.data() + (begin * config_.num_heads + head) * dim,
                                      .out_stride = config_.num_heads * dim};
    if (sequence->store != nullptr) {
      sequence->store->all().attach(sequence->store->head(layer_index, head / heads_per_kv), sequence->store_begin, sequence->length, problem);
    } else {
      own_.attach(head / heads_per_kv, sequence->row_begin, sequence->num_rows, problem);
    }
    if (compute.kernels->attention_workspace != nullptr) {
      workspaces_[size(member)].grow(compute.kernels->attention_workspace(problem.num_keys, dim));
      problem.workspace = workspaces_[size(member)].data();
    }
    compute.kernels->attend(problem);
  });
}

}  // namespace unmask::runtime
