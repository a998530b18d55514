// SPDX-License-Identifier: Apache-2.0
#include "runtime/head.h"

#include <algorithm>

namespace unmask::runtime {
namespace {

constexpr std::int64_t kTile = 256;  // tokens: 1 MiB of weights at 2,048 inputs
constexpr std::int64_t kRowsAtOnce = 64;

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

std::vector<RowSummary> Head::summarise(std::span<const float> rows, std::span<const HeadQuery> queries) {
  const auto count = static_cast<std::int64_t>(queries.size());
  const std::int64_t vocab = weight_.rows();
  const std::int64_t num_tiles = (vocab + kTile - 1) / kTile;
  std::vector<RowSummary> results(queries.size());
  for (std::size_t r = 0; r < queries.size(); ++r) {
    results[r].apart_logits.resize(queries[r].apart.size());
  }
  std::vector<experts::TileSummary> tiles(size(count * num_tiles));
  std::vector<Sample> samples(std::any_of(queries.begin(), queries.end(), [](const auto& q) { return q.noise.has_value(); })
                                  ? tiles.size() : 0);
  const experts::LinearInput input(compute_, rows.data(), count, weight_);
  compute_.team->for_each(num_tiles, [&](std::int64_t tile) {
    const std::int64_t begin = tile * kTile;
    const std::int64_t end = std::min(vocab, begin + kTile);
    std::vector<float> logits(size(kRowsAtOnce * (end - begin)));
    for (std::int64_t first = 0; first < count; first += kRowsAtOnce) {
      const std::int64_t piece = std::min(kRowsAtOnce, count - first);
      input.multiply({.row_begin = first, .row_end = first + piece, .n_begin = begin, .n_end = end, .y = logits.data(),
                      .y_stride = end - begin});
      for (std::int64_t r = first; r < first + piece; ++r) {
        const float* row = logits.data() + (r - first) * (end - begin);
        const auto& query = queries[size(r)];
        const auto apart = apart_within(query.apart, begin, end);
        tiles[size(r * num_tiles + tile)] = compute_.kernels->summarise(
            {.logits = row, .count = end - begin, .first = static_cast<TokenId>(begin), .excluded = query.excluded, .skip = apart});
        if (query.noise) {
          samples[size(r * num_tiles + tile)] = sample_of({row, size(end - begin)}, static_cast<TokenId>(begin), query, apart);
        }
        for (std::size_t i = 0; i < apart.size(); ++i) {
          results[size(r)].apart_logits[static_cast<std::size_t>(apart.data() - query.apart.data()) + i] = row[apart[i] - begin];
        }
      }
    }
  });
  compute_.team->for_each(count, [&](std::int64_t r) {
    auto& all = results[size(r)].all;
    for (std::int64_t tile = 0; tile < num_tiles; ++tile) {
      all = merge(all, tiles[size(r * num_tiles + tile)], *compute_.kernels);
      if (!samples.empty() && samples[size(r * num_tiles + tile)].noised > results[size(r)].sample.noised) {
        results[size(r)].sample = samples[size(r * num_tiles + tile)];
      }
    }
  });
  return results;
}

std::vector<float> Head::logits(std::span<const float> rows) {
  const std::int64_t count = static_cast<std::int64_t>(rows.size()) / weight_.cols();
  std::vector<float> logits(size(count * weight_.rows()));
  linear(compute_, rows.data(), count, weight_, logits.data());
  return logits;
}

}  // namespace unmask::runtime
