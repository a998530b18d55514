// SPDX-License-Identifier: Apache-2.0
#include "bench/synthetic_routing.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace unmask::bench {
namespace {

double uniform(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  return (static_cast<double>(philox({a, b, c, 0}, {91, 7})[0]) + 0.5) * 0x1p-32;
}

/// The top_k experts of a row, ascending, drawn without replacement in proportion to `popularity`: those with the smallest
/// exponential waiting times.
void draw(const std::vector<double>& popularity, std::int64_t top_k, std::int64_t rank, std::int64_t row, std::vector<ExpertId>& ids) {
  std::vector<std::pair<double, std::int32_t>> waits;
  for (std::size_t e = 0; e < popularity.size(); ++e) {
    const double u = uniform(static_cast<std::uint32_t>(rank), static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(e));
    waits.emplace_back(-std::log(u) / popularity[e], static_cast<std::int32_t>(e));
  }
  std::partial_sort(waits.begin(), waits.begin() + top_k, waits.end());
  const auto first = ids.insert(ids.end(), size(top_k), ExpertId(0));
  std::transform(waits.begin(), waits.begin() + top_k, first, [](const auto& one) { return ExpertId(one.second); });
  std::sort(first, ids.end());
}

/// How many times the pairs of an average other rank rank 0 gets, by a sample.
double times_of_rank_0(const std::vector<double>& popularity, std::int64_t top_k, const cluster::Placement& placement) {
  constexpr std::int64_t kSample = 400;
  std::vector<ExpertId> ids;
  for (std::int64_t row = 0; row < kSample; ++row) {
    draw(popularity, top_k, 1 << 20, row, ids);
  }
  const auto to_0 = static_cast<double>(std::ranges::count_if(ids, [&](ExpertId id) { return placement.owner(id) == Rank(0); }));
  const double to_others = static_cast<double>(ids.size()) - to_0;
  return to_0 * static_cast<double>(placement.num_ranks() - 1) / std::max(to_others, 1e-9);
}

std::vector<double> popularity_of(const Skew& skew, std::int64_t top_k, const cluster::Placement& placement) {
  std::vector<double> popularity(size(placement.num_experts()), 1.0);
  if (skew.kind == Skew::Kind::kZipf) {
    for (std::size_t e = 0; e < popularity.size(); ++e) {
      popularity[e] = 1.0 / static_cast<double>(e + 1);
    }
  } else if (skew.kind == Skew::Kind::kOneRank && placement.num_ranks() > 1) {
    double low = 1, high = 1e4;
    for (int i = 0; i < 30; ++i) {
      const double middle = std::sqrt(low * high);
      for (const ExpertId id : placement.held_by(Rank(0))) {
        popularity[id.at()] = middle;
      }
      (times_of_rank_0(popularity, top_k, placement) < skew.times ? low : high) = middle;
    }
  }
  return popularity;
}

}  // namespace

Skew parse_skew(const std::string& text) {
  if (text == "uniform") {
    return {};
  }
  if (text == "zipf") {
    return {.kind = Skew::Kind::kZipf, .name = text};
  }
  Skew skew{.kind = Skew::Kind::kOneRank, .name = text};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), skew.times);
  if (error != std::errc() || end != text.data() + text.size()) {
    skew.kind = Skew::Kind::kRecorded;
    return skew;
  }
  require(skew.times >= 1 && skew.times <= 1e6, ExitCode::kUsage,
          "--skew: expected uniform, zipf, how many times the traffic of another rank 0 gets (from 1 on), or a file, found '{}'", text);
  return skew;
}

SyntheticRows::SyntheticRows(const ExpertShape& shape, const cluster::Placement& placement, const Skew& skew, Rank rank,
                             std::int64_t num_rows)
    : top_k_(shape.top_k) {
  const auto popularity = popularity_of(skew, shape.top_k, placement);
  for (std::int64_t row = 0; row < num_rows; ++row) {
    draw(popularity, shape.top_k, rank.value, row, ids_);
  }
  weigh();
  fill(shape, rank, num_rows);
}

void SyntheticRows::weigh() {
  for (std::size_t pair = 0; pair < ids_.size(); ++pair) {
    weights_.push_back(1.0F / static_cast<float>(pair % size(top_k_) + 2));
  }
}

SyntheticRows::SyntheticRows(const ExpertShape& shape, Rank rank, std::vector<ExpertId> ids) : top_k_(shape.top_k), ids_(std::move(ids)) {
  weigh();
  fill(shape, rank, std::ssize(ids_) / shape.top_k);
}

void SyntheticRows::fill(const ExpertShape& shape, Rank rank, std::int64_t num_rows) {
  values_.resize(size(num_rows * shape.hidden));
  for (std::int64_t i = 0; i < std::ssize(values_); i += 4) {
    const auto words = philox({static_cast<std::uint32_t>(i / 4), static_cast<std::uint32_t>(rank.value), 0, 0}, {92, 7});
    for (std::int64_t j = 0; j < std::min<std::int64_t>(4, std::ssize(values_) - i); ++j) {
      values_[size(i + j)] = round_to_bfloat16(static_cast<float>(static_cast<std::int32_t>(words[size(j)])) * 0x1p-31F);
    }
  }
}

cluster::Routing SyntheticRows::routing() const {
  return {.num_rows = std::ssize(ids_) / top_k_, .top_k = top_k_, .ids = ids_, .weights = weights_};
}

}  // namespace unmask::bench
