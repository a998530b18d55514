// SPDX-License-Identifier: Apache-2.0
#include "runtime/head.h"

#include <algorithm>

#include "runtime/expected_embedding.h"

namespace unmask::runtime {
namespace {

constexpr std::int64_t kTile = 256;  // tokens: 1 MiB of weights at 2,048 inputs
constexpr std::int64_t kTilesPerGroup = ExpectationGroup::kMostTokens / kTile;
constexpr std::int64_t kTilesPerTask = 5 * kTilesPerGroup;  // where embeddings are summed: 31 tasks at 157,184 tokens
constexpr std::int64_t kRowsAtOnce = 128;  // beside a tile of weights in a second cache
constexpr std::int64_t kMostExpected = 256;  // rows whose embeddings are summed together: 64 MiB at 2,048 inputs and 31 tasks
constexpr std::int64_t kNowhere = -1;

std::span<const TokenId> apart_within(std::span<const TokenId> tokens, std::int64_t begin, std::int64_t end) {
  const auto first = std::lower_bound(tokens.begin(), tokens.end(), begin);
  return {first, std::lower_bound(first, tokens.end(), end)};
}

Sample sample_of(std::span<const float> logits, TokenId first, const HeadQuery& query, std::span<const TokenId> apart) {
  Sample best;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const TokenId token = first + static_cast<TokenId>(i);
    if (!apart.empty() && token == apart.front()) {
      apart = apart.subspan(1);
    } else if (token != query.excluded) {
      if (const double noised = query.noise->noised(token, double{logits[i]}); noised > best.noised) {
        best = {token, logits[i], noised};
      }
    }
  }
  return best;
}

}  // namespace

experts::TileSummary merge(const experts::TileSummary& left, const experts::TileSummary& right,
                           const experts::KernelFamily& kernels) {
  const bool finite = left.finite && right.finite;
  experts::TileSummary merged = left;
  if (left.top_token < 0) {
    merged = right;
  } else if (right.top_token >= 0) {
    const bool right_wins = right.top > left.top;  // equal logits: the lower token
    const auto& winner = right_wins ? right : left;
    const auto& loser = right_wins ? left : right;
    merged.top = winner.top;
    merged.top_token = winner.top_token;
    merged.others = winner.others + (loser.others + 1.0F) * kernels.exponential(loser.top - winner.top);
    if (left.best_token < 0 || (right.best_token >= 0 && right.best > left.best)) {
      merged.best = right.best;
      merged.best_token = right.best_token;
    }
  }
  merged.finite = finite;
  return merged;
}

/// Some rows on their way over all tiles.
struct Head::Pass {
  const Head& head;
  std::span<const float> rows;
  std::span<const HeadQuery> queries;
  std::span<RowSummary> results;
  std::int64_t vocab = head.weight_.rows();
  std::int64_t num_tiles = experts::whole(vocab, kTile);
  std::vector<experts::TileSummary> tiles = {};       ///< [rows, tiles]
  std::vector<Sample> samples = {};                   ///< likewise; empty where nobody wants one
  std::vector<std::int64_t> expected_place = {};      ///< [rows]: among those whose expected embedding is wanted; or kNowhere
  std::int64_t num_expected = 0;
  AlignedBuffer<float> expected_values = {};          ///< [tasks, num_expected, hidden]
  std::vector<ExpectedEmbeddings> expected = {};      ///< [tasks]
  std::vector<ExpectationGroup> groups = {};          ///< [threads]
  experts::PieceBuffers buffers = {};                 ///< [threads]: logits of some rows and a tile

  std::int64_t num_rows() const { return static_cast<std::int64_t>(queries.size()); }
  /// Tiles that a task takes one after the other. Fixed, as the sums of expected embeddings are made task by task.
  std::int64_t tiles_per_task() const { return num_expected > 0 ? kTilesPerTask : 1; }
  std::int64_t num_tasks() const { return experts::whole(num_tiles, tiles_per_task()); }
  std::int64_t tile_end(std::int64_t tile) const { return std::min(vocab, (tile + 1) * kTile); }
  std::size_t at(std::int64_t row, std::int64_t tile) const { return size(row * num_tiles + tile); }

  void prepare();
  void run();
  /// The tiles of a task, on the thread `member`.
  void run_groups(const experts::LinearInput& input, std::int64_t task, int member);
  void run_tile(const experts::LinearInput& input, std::int64_t tile, int member);
  void reduce(std::int64_t row, std::int64_t tile, std::span<const float> logits, ExpectationGroup* group);
  void merge_tiles(std::int64_t row);
};

void Head::Pass::prepare() {
  for (std::size_t r = 0; r < queries.size(); ++r) {
    results[r].apart_logits.resize(queries[r].apart.size());
    expected_place.push_back(queries[r].expectation == Expectation::kNone ? kNowhere : num_expected++);
  }
  tiles.resize(size(num_rows() * num_tiles));
  samples.resize(std::any_of(queries.begin(), queries.end(), [](const auto& q) { return q.noise.has_value(); }) ? tiles.size() : 0);
  buffers.resize(size(head.compute_.team->size()));
  for (auto& buffer : buffers) {
    buffer.grow(std::min(num_rows(), kRowsAtOnce) * kTile);
  }
  const std::int64_t each = num_expected * head.embedding_.cols();
  expected_values.grow(num_tasks() * each);
  for (std::int64_t task = 0; num_expected > 0 && task < num_tasks(); ++task) {
    expected.emplace_back(num_expected, head.embedding_.cols(), expected_values.data() + task * each);
  }
  for (int member = 0; num_expected > 0 && member < head.compute_.team->size(); ++member) {
    groups.emplace_back(head.compute_, head.embedding_, num_expected);
  }
}

void Head::Pass::run() {
  const experts::LinearInput input(head.compute_, rows.data(), num_rows(), head.weight_);
  head.compute_.team->for_each_on(num_tasks(), [&](std::int64_t task, int member) {
    if (num_expected > 0) {
      run_groups(input, task, member);
    } else {
      run_tile(input, task, member);
    }
  });
  head.compute_.team->for_each(num_rows(), [&](std::int64_t row) { merge_tiles(row); });
}

void Head::Pass::run_groups(const experts::LinearInput& input, std::int64_t task, int member) {
  ExpectationGroup& group = groups[size(member)];
  const std::int64_t end = std::min(num_tiles, (task + 1) * kTilesPerTask);
  for (std::int64_t first = task * kTilesPerTask; first < end; first += kTilesPerGroup) {
    const std::int64_t group_end = std::min(end, first + kTilesPerGroup);
    group.open(first * kTile, tile_end(group_end - 1) - first * kTile);
    for (std::int64_t tile = first; tile < group_end; ++tile) {
      run_tile(input, tile, member);
    }
    group.close(expected[size(task)]);
  }
}

void Head::Pass::run_tile(const experts::LinearInput& input, std::int64_t tile, int member) {
  const std::int64_t begin = tile * kTile;
  const std::int64_t count = tile_end(tile) - begin;
  const std::int64_t next = (tile + head.compute_.team->size()) % num_tiles * kTile;  // if all threads take turns
  ExpectationGroup* const group = groups.empty() ? nullptr : &groups[size(member)];
  AlignedBuffer<float>& logits = buffers[size(member)];
  for (std::int64_t first = 0; first < num_rows(); first += kRowsAtOnce) {
    const std::int64_t end = std::min(num_rows(), first + kRowsAtOnce);
    input.multiply(head.weight_, {.row_begin = first, .row_end = end, .n_begin = begin, .n_end = begin + count, .y = logits.data(),
                                  .y_stride = count, .next = experts::LinearInput::weights_at(head.weight_, next)});
    for (std::int64_t row = first; row < end; ++row) {
      reduce(row, tile, {logits.data() + (row - first) * count, size(count)}, group);
    }
  }
}

void Head::Pass::reduce(std::int64_t row, std::int64_t tile, std::span<const float> logits, ExpectationGroup* group) {
  const experts::KernelFamily& kernels = *head.compute_.kernels;
  const HeadQuery& query = queries[size(row)];
  const auto first = static_cast<TokenId>(tile * kTile);
  const auto apart = apart_within(query.apart, first, tile_end(tile));
  experts::TileSummary& summary = tiles[at(row, tile)];
  summary = kernels.summarise({.logits = logits.data(), .count = static_cast<std::int64_t>(logits.size()), .first = first,
                               .excluded = query.excluded, .skip = apart});
  if (query.noise) {
    samples[at(row, tile)] = sample_of(logits, first, query, apart);
  }
  RangeWeight weight{.top = summary.top, .total = summary.top_token < 0 ? 0.0F : 1.0F + summary.others};
  for (std::size_t i = 0; i < apart.size(); ++i) {
    const float logit = logits[static_cast<std::size_t>(apart[i] - first)];
    results[size(row)].apart_logits[static_cast<std::size_t>(apart.data() - query.apart.data()) + i] = logit;
    weight.add({.top = logit, .total = 1.0F}, kernels);
  }
  if (group != nullptr && expected_place[size(row)] != kNowhere) {
    group->take(expected_place[size(row)], first, logits, weight);
  }
}

void Head::Pass::merge_tiles(std::int64_t row) {
  RowSummary& result = results[size(row)];
  for (std::int64_t tile = 0; tile < num_tiles; ++tile) {
    result.all = merge(result.all, tiles[at(row, tile)], *head.compute_.kernels);
    if (!samples.empty() && samples[at(row, tile)].noised > result.sample.noised) {
      result.sample = samples[at(row, tile)];
    }
  }
  if (const std::int64_t place = expected_place[size(row)]; place != kNowhere) {
    for (std::size_t task = 1; task < expected.size(); ++task) {
      expected[0].join(place, expected[task], *head.compute_.kernels);
    }
    result.expected.assign(expected[0].values(place), expected[0].values(place) + head.embedding_.cols());
  }
}

std::vector<RowSummary> Head::summarise(std::span<const float> rows, std::span<const HeadQuery> queries) {
  std::vector<RowSummary> results(queries.size());
  for (std::size_t begin = 0; begin < queries.size();) {
    std::size_t end = begin;
    for (std::int64_t expecting = 0; end < queries.size() && expecting < kMostExpected; ++end) {
      expecting += queries[end].expectation == Expectation::kNone ? 0 : 1;
    }
    Pass pass{.head = *this, .rows = rows.subspan(begin * size(weight_.cols()), (end - begin) * size(weight_.cols())),
              .queries = queries.subspan(begin, end - begin), .results = std::span(results).subspan(begin, end - begin)};
    pass.prepare();
    pass.run();
    begin = end;
  }
  return results;
}

std::vector<float> Head::logits(std::span<const float> rows) {
  const std::int64_t count = static_cast<std::int64_t>(rows.size()) / weight_.cols();
  std::vector<float> logits(size(count * weight_.rows()));
  linear(compute_, rows.data(), count, weight_, logits.data());
  return logits;
}

}  // namespace unmask::runtime
