// SPDX-License-Identifier: Apache-2.0
// summarise_tiles against loops over the tokens in double precision, with tokens apart, an excluded one, noise and pieces.
#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

#include "base/random.h"
#include "product_testing.h"
#include "runtime/noise.h"

namespace unmask::experts::cuda {
namespace {

constexpr std::uint64_t kSeed = 12345678901234U;

/// runtime::Noise(seed, "")'s key.
std::array<std::uint32_t, 2> key_of(std::uint64_t seed) {
  constexpr std::uint64_t kHash = 0xcbf29ce484222325U;
  const auto words = philox({static_cast<std::uint32_t>(kHash), static_cast<std::uint32_t>(kHash >> 32), 0, 0},
                            {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  return {words[0], words[1]};
}

struct Rows {
  std::int64_t count, rows, most = rows + 2, stride = count + 3;
  std::vector<float> logits = random_values(most * stride, 9);
  std::vector<DeviceQuery> queries = {};
  std::vector<std::int32_t> apart = {};
  // Results
  std::vector<DeviceSummary> summaries = {};
  std::vector<float> apart_logits = {};

  float& at(std::int64_t row, std::int64_t token) { return logits[static_cast<std::size_t>(row * stride + token)]; }
  void add_query(std::int32_t excluded, const std::vector<std::int32_t>& without, bool noise) {
    const auto begin = static_cast<std::int32_t>(apart.size());
    apart.insert(apart.end(), without.begin(), without.end());
    const auto key = key_of(kSeed);
    const auto row = static_cast<std::uint32_t>(queries.size());
    queries.push_back({.excluded = excluded, .apart_begin = begin, .apart_end = static_cast<std::int32_t>(apart.size()),
                       .has_noise = noise ? 1 : 0, .noise_key = {key[0], key[1]}, .position = row + 3, .step = 17, .temperature = 0.7});
  }
  /// The vocabulary in pieces, each behind the one before.
  void run(const std::vector<std::int64_t>& pieces) {
    queries.resize(static_cast<std::size_t>(most), DeviceQuery{});
    const auto real = on_device(std::vector<std::int32_t>{static_cast<std::int32_t>(rows)});
    const auto device_logits = on_device(logits);
    const auto device_queries = on_device(queries);
    const auto device_apart = on_device(apart);
    Array<float> device_apart_logits(static_cast<std::int64_t>(apart.size()));
    Array<DeviceSummary> tiles(most * (count / kHeadTile + 1)), device_summaries(most);
    std::int64_t first = 0;
    for (const std::int64_t piece : pieces) {
      summarise_tiles({.logits = device_logits.data() + first, .logits_stride = stride, .rows = {real.data(), most}, .first = first,
                       .count = piece, .queries = device_queries.data(), .apart = device_apart.data(), .tiles = tiles.data(),
                       .summaries = device_summaries.data(), .apart_logits = device_apart_logits.data()}, nullptr);
      first += piece;
    }
    ASSERT_EQ(first, count);
    summaries = from_device(device_summaries.data(), most);
    apart_logits = from_device(device_apart_logits.data(), static_cast<std::int64_t>(apart.size()));
  }
  void expect_right();
};

void Rows::expect_right() {
  for (std::int64_t row = 0; row < rows; ++row) {
    const DeviceQuery& query = queries[static_cast<std::size_t>(row)];
    const DeviceSummary& found = summaries[static_cast<std::size_t>(row)];
    const runtime::TokenNoise noise{runtime::Noise(kSeed, ""), query.temperature, query.position, query.step};
    const auto is_apart = [&](std::int64_t token) {
      return std::find(apart.begin() + query.apart_begin, apart.begin() + query.apart_end, token) != apart.begin() + query.apart_end;
    };
    std::int32_t top = -1, best = -1, sample = -1;
    double noised = -INFINITY;
    for (std::int32_t token = 0; token < count; ++token) {
      if (is_apart(token)) {
        continue;
      }
      top = top < 0 || at(row, token) > at(row, top) ? token : top;
      if (token != query.excluded) {
        best = best < 0 || at(row, token) > at(row, best) ? token : best;
        if (const double value = noise.noised(token, static_cast<double>(at(row, token))); query.has_noise != 0 && value > noised) {
          noised = value;
          sample = token;
        }
      }
    }
    EXPECT_EQ(found.top_token, top);
    EXPECT_EQ(found.best_token, best);
    EXPECT_EQ(found.sample_token, sample);
    EXPECT_EQ(found.finite, 1);
    ASSERT_EQ(found.top, top < 0 ? 0 : at(row, top));
    ASSERT_EQ(found.best, best < 0 ? 0 : at(row, best));
    double others = 0;
    for (std::int32_t token = 0; top >= 0 && token < count; ++token) {
      others += token == top || is_apart(token) ? 0 : std::exp(static_cast<double>(at(row, token)) - static_cast<double>(at(row, top)));
    }
    // terms: an exponential (2 units, and that of its argument), 13 sums in a tile; then one sum, or two products, per tile
    const double tiles = static_cast<double>(count / kHeadTile + 1);
    EXPECT_NEAR(found.others, others, others * (32 + 8 * tiles) * 0x1p-24);
    if (sample >= 0) {
      EXPECT_EQ(found.sample_logit, at(row, sample));
      EXPECT_NEAR(found.sample_noised, noised, 1e-12);
    }
    for (std::int32_t i = query.apart_begin; i < query.apart_end; ++i) {
      EXPECT_EQ(apart_logits[static_cast<std::size_t>(i)], at(row, apart[static_cast<std::size_t>(i)]));
    }
  }
}

Rows some_rows(std::int64_t count) {
  Rows rows{.count = count, .rows = 4};
  std::int32_t top = 0;
  for (std::int32_t token = 0; token < count; ++token) {
    top = rows.at(1, token) > rows.at(1, top) ? token : top;
  }
  rows.add_query(-1, {}, false);
  rows.add_query(top, {}, true);  // the top may not win
  rows.add_query(3, {0, 5, 6, static_cast<std::int32_t>(count) - 1}, true);
  rows.add_query(-1, {}, false);
  for (std::int64_t token = 0; token < count; token += 7) {
    rows.at(3, token) = 9;  // many equal ones: the lowest wins
  }
  return rows;
}

class HeadTest : public testing::TestWithParam<std::int64_t> {};

TEST_P(HeadTest, FindsTopOthersBestAndSample) {
  Rows rows = some_rows(GetParam());
  rows.run({rows.count});
  rows.expect_right();
  EXPECT_EQ(rows.summaries[3].top_token, 0);
}

TEST_P(HeadTest, PiecesMakeNoDifference) {
  Rows whole = some_rows(GetParam()), pieces = some_rows(GetParam());
  whole.run({whole.count});
  if (whole.count > 768) {
    pieces.run({512, 256, pieces.count - 768});
  } else {
    pieces.run({256, pieces.count - 256});
  }
  EXPECT_EQ(std::memcmp(whole.summaries.data(), pieces.summaries.data(), 4 * sizeof(DeviceSummary)), 0);
}

TEST_P(HeadTest, ARowIsItsOwn) {
  Rows all = some_rows(GetParam());
  all.run({all.count});
  Rows alone{.count = all.count, .rows = 1};
  std::copy_n(&all.at(2, 0), all.count, &alone.at(0, 0));
  alone.apart = all.apart;
  alone.queries = {all.queries[2]};
  alone.run({alone.count});
  EXPECT_EQ(std::memcmp(&all.summaries[2], &alone.summaries[0], sizeof(DeviceSummary)), 0);
}

INSTANTIATE_TEST_SUITE_P(Counts, HeadTest, testing::Values(257, 300, 1024, 20011));

TEST(Head, NoRowsAndTokensThatAllStandApart) {
  Rows none{.count = 300, .rows = 0};
  none.run({300});
  Rows rows{.count = 4, .rows = 1};
  rows.add_query(-1, {0, 1, 2, 3}, false);
  rows.run({4});
  rows.expect_right();
  EXPECT_EQ(rows.summaries[0].top_token, -1);
  Rows excluded{.count = 4, .rows = 1};
  excluded.add_query(2, {0, 1, 3}, true);
  excluded.run({4});
  excluded.expect_right();
  EXPECT_EQ(excluded.summaries[0].best_token, -1);
}

TEST(Head, LogitsThatAreNotNumbersAreTold) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    for (const std::int64_t token : {0, 299, 5000}) {
      Rows rows{.count = 6000, .rows = 2};
      rows.add_query(-1, {static_cast<std::int32_t>(token)}, false);  // also of a token apart
      rows.add_query(-1, {}, false);
      rows.at(0, token) = bad;
      rows.run({6000});
      EXPECT_EQ(rows.summaries[0].finite, 0);
      EXPECT_EQ(rows.summaries[1].finite, 1);
    }
  }
}

}  // namespace
}  // namespace unmask::experts::cuda
