// SPDX-License-Identifier: Apache-2.0
// route() against double precision: which experts, what weights, what the experts get; ties, not-a-number, padding, counts.
#include <algorithm>
#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "product_testing.h"

namespace unmask::experts::cuda {
namespace {

constexpr float kEps = 1e-5F;

struct Case {
  std::int64_t rows, most, hidden, num_experts, top_k;
  bool renormalise;
};

struct Routed {
  Case c;
  Precision precision = Precision::kFloat32;
  std::vector<float> x = random_values(c.most * c.hidden, 1);
  std::vector<float> norm = random_values(c.hidden, 2);
  std::vector<float> weight = random_values(c.num_experts * c.hidden, 3);
  // Results
  std::vector<std::int32_t> ids = {};
  std::vector<float> weights = {}, normed = {};
  std::vector<std::int64_t> counts = {};

  void run() {
    const auto real = on_device(std::vector<std::int32_t>{static_cast<std::int32_t>(c.rows)});
    const auto device_x = on_device(x), device_norm = on_device(norm);
    const auto device_weight = on_device(rounded(weight));
    Array<std::int32_t> device_ids(c.most * c.top_k);
    Array<float> device_weights(c.most * c.top_k);
    DeviceValues device_normed(c.most * c.hidden, precision);
    auto device_counts = on_device(std::vector<std::int64_t>(static_cast<std::size_t>(c.num_experts), 100));
    route({.x = device_x.data(), .hidden = c.hidden, .rows = {real.data(), c.most}, .norm = device_norm.data(), .eps = kEps,
           .weight = device_weight.data(), .num_experts = c.num_experts, .top_k = c.top_k, .renormalise = c.renormalise,
           .normed = device_normed, .ids = device_ids.data(), .weights = device_weights.data(), .counts = device_counts.data()}, nullptr);
    ids = from_device(device_ids.data(), c.most * c.top_k);
    weights = from_device(device_weights.data(), c.most * c.top_k);
    normed = device_normed.values();
    counts = from_device(device_counts.data(), c.num_experts);
  }
  double normed_value(std::int64_t row, std::int64_t i) const {
    const float* mine = x.data() + row * c.hidden;
    const double mean = exact_product(mine, mine, c.hidden).value / static_cast<double>(c.hidden);
    return static_cast<double>(mine[i]) / std::sqrt(mean + static_cast<double>(kEps)) * static_cast<double>(norm[static_cast<std::size_t>(i)]);
  }
  /// softmax of a row's scores, and the largest error of a score before it.
  std::vector<double> scores(std::int64_t row, double& error) const {
    std::vector<double> values(static_cast<std::size_t>(c.num_experts)), normed_row;
    for (std::int64_t i = 0; i < c.hidden; ++i) {
      normed_row.push_back(normed_value(row, i));
    }
    error = 0;
    for (std::int64_t e = 0; e < c.num_experts; ++e) {
      ExactSum sum;
      for (std::int64_t i = 0; i < c.hidden; ++i) {
        sum.add(normed_row[static_cast<std::size_t>(i)] * static_cast<double>(weight[static_cast<std::size_t>(e * c.hidden + i)]));
      }
      values[static_cast<std::size_t>(e)] = sum.value;
      error = std::max(error, 2 * sum.bound(c.hidden));  // of the products' sum, and of the norm
    }
    const double most = *std::max_element(values.begin(), values.end());
    double total = 0;
    for (double& value : values) {
      total += value = std::exp(value - most);
    }
    for (double& value : values) {
      value /= total;
    }
    return values;
  }
};

class RouteTest : public testing::TestWithParam<Case> {};

TEST_P(RouteTest, ChoosesTheBest) {
  const Case& c = GetParam();
  Routed routed{.c = c};
  routed.run();
  std::vector<std::int64_t> counts(static_cast<std::size_t>(c.num_experts), 100);
  for (std::int64_t row = 0; row < c.rows; ++row) {
    const std::int32_t* ids = routed.ids.data() + row * c.top_k;
    double error = 0, total = 0;
    const auto scores = routed.scores(row, error);
    auto sorted = scores;
    std::sort(sorted.rbegin(), sorted.rend());
    for (std::int64_t i = 0; i < c.top_k; ++i) {
      total += c.renormalise ? sorted[static_cast<std::size_t>(i)] : 0;
    }
    for (std::int64_t i = 0; i < c.top_k; ++i) {
      ASSERT_TRUE(ids[i] >= 0 && ids[i] < c.num_experts && (i == 0 || ids[i - 1] < ids[i])) << "row " << row;
      ++counts[static_cast<std::size_t>(ids[i])];
      const double score = scores[static_cast<std::size_t>(ids[i])];
      const double relative = 2 * error + static_cast<double>(c.num_experts + 8) * 0x1p-23;  // exp(x + d) = exp(x) (1 + d)
      ASSERT_GE(score, sorted[static_cast<std::size_t>(c.top_k - 1)] * (1 - relative)) << "row " << row << " has expert " << ids[i];
      const double expected = c.renormalise ? score / total : score;
      ASSERT_NEAR(routed.weights[static_cast<std::size_t>(row * c.top_k + i)], expected, expected * 2 * relative) << "row " << row;
    }
  }
  EXPECT_EQ(routed.counts, counts);
  for (std::int64_t at = c.rows * c.top_k; at < c.most * c.top_k; ++at) {
    ASSERT_EQ(routed.ids[static_cast<std::size_t>(at)], -1);
  }
}

TEST_P(RouteTest, HandsOnNormedRows) {
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    Routed routed{.c = GetParam(), .precision = precision};
    routed.run();
    for (std::int64_t row = 0; row < routed.c.rows; ++row) {
      for (std::int64_t i = 0; i < routed.c.hidden; i += 3) {
        const double exact = routed.normed_value(row, i);
        ASSERT_NEAR(routed.normed[static_cast<std::size_t>(row * routed.c.hidden + i)], exact,
                    std::abs(exact) * (static_cast<double>(routed.c.hidden) / 2 + 6) * 0x1p-24 + 1.01 * rounding(exact, precision));
      }
    }
    EXPECT_TRUE(routed.c.rows == routed.c.most || std::isnan(routed.normed.back()));
  }
}

/// Few rows and many take other paths; the bits are the same.
TEST_P(RouteTest, ARowIsItsOwn) {
  const Case& c = GetParam();
  Routed all{.c = c};
  all.run();
  for (std::int64_t row = 0; row < c.rows; row += std::max<std::int64_t>(1, c.rows / 5)) {
    for (const std::int64_t most : {std::int64_t{1}, std::int64_t{257}}) {
      Routed alone{.c = c};
      alone.c.rows = 1;
      alone.c.most = most;
      alone.x.assign(static_cast<std::size_t>(most * c.hidden), 0.0F);
      std::copy_n(all.x.begin() + row * c.hidden, c.hidden, alone.x.begin());
      alone.run();
      EXPECT_TRUE(std::equal(alone.ids.begin(), alone.ids.begin() + c.top_k, all.ids.begin() + row * c.top_k));
      EXPECT_EQ(std::memcmp(alone.weights.data(), all.weights.data() + row * c.top_k, static_cast<std::size_t>(c.top_k) * 4), 0);
      EXPECT_EQ(std::memcmp(alone.normed.data(), all.normed.data() + row * c.hidden, static_cast<std::size_t>(c.hidden) * 4), 0);
    }
  }
}

TEST(Route, EqualScoresGiveTheLowestExpert) {
  Routed routed{.c = {.rows = 2, .most = 2, .hidden = 64, .num_experts = 70, .top_k = 5, .renormalise = true}};
  for (std::size_t e = 1; e < 70; ++e) {  // all alike
    std::copy_n(routed.weight.begin(), 64, routed.weight.begin() + static_cast<std::ptrdiff_t>(e) * 64);
  }
  routed.run();
  EXPECT_EQ(routed.ids, (std::vector<std::int32_t>{0, 1, 2, 3, 4, 0, 1, 2, 3, 4}));
  EXPECT_FLOAT_EQ(routed.weights[3], 0.2F);
}

TEST(Route, RowsThatAreNotNumbersStayByThemselves) {
  Routed routed{.c = {.rows = 2, .most = 2, .hidden = 64, .num_experts = 16, .top_k = 3, .renormalise = false}};
  routed.x[5] = NAN;
  routed.run();
  EXPECT_EQ(std::vector<std::int32_t>(routed.ids.begin(), routed.ids.begin() + 3), (std::vector<std::int32_t>{0, 1, 2}));
  EXPECT_TRUE(std::isnan(routed.weights[0]));
  EXPECT_FALSE(std::isnan(routed.weights[3]));
}

INSTANTIATE_TEST_SUITE_P(Shapes, RouteTest,
                         testing::Values(Case{0, 4, 64, 16, 4, false}, Case{1, 1, 2048, 64, 8, false}, Case{5, 9, 96, 11, 3, true},
                                         Case{3, 3, 64, 4, 1, true}, Case{4, 6, 128, 300, 32, true}, Case{43, 261, 136, 64, 8, true}));

}  // namespace
}  // namespace unmask::experts::cuda
