// SPDX-License-Identifier: Apache-2.0
// add_expectation against a softmax in double precision; in pieces; a row alone.
#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

#include "product_testing.h"

namespace unmask::experts::cuda {
namespace {

struct Case {
  std::int64_t rows, count, hidden;
};

struct Expected {
  Case c;
  std::int64_t most = c.rows + 1, stride = c.count + 5;
  std::vector<float> logits = random_values(most * stride, 1);
  std::vector<float> embedding = random_values(c.count * c.hidden, 2);
  std::vector<float> tops = {}, totals = {}, sums = {};

  void run(const std::vector<std::int64_t>& pieces) {
    const auto real = on_device(std::vector<std::int32_t>{static_cast<std::int32_t>(c.rows)});
    const auto device_logits = on_device(logits);
    const auto device_embedding = on_device(rounded(embedding));
    Array<float> device_tops(most), device_totals(most), device_sums(most * c.hidden);
    std::int64_t first = 0;
    for (const std::int64_t piece : pieces) {
      Array<float> workspace(expectation_workspace(most, piece, c.hidden));
      add_expectation({.logits = device_logits.data() + first, .logits_stride = stride, .rows = {real.data(), most}, .first = first,
                       .count = piece, .embedding = device_embedding.data(), .hidden = c.hidden, .tops = device_tops.data(),
                       .totals = device_totals.data(), .sums = device_sums.data(), .workspace = workspace.data()}, nullptr);
      first += piece;
    }
    ASSERT_EQ(first, c.count);
    tops = from_device(device_tops.data(), most);
    totals = from_device(device_totals.data(), most);
    sums = from_device(device_sums.data(), most * c.hidden);
  }
};

class ExpectationTest : public testing::TestWithParam<Case> {};

TEST_P(ExpectationTest, MatchesASoftmax) {
  Expected e{.c = GetParam()};
  e.run({e.c.count});
  const auto [rows, count, hidden] = e.c;
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* logits = e.logits.data() + row * e.stride;
    const float top = *std::max_element(logits, logits + count);
    ASSERT_EQ(e.tops[static_cast<std::size_t>(row)], top);
    std::vector<double> terms;
    double total = 0;
    for (std::int64_t t = 0; t < count; ++t) {
      terms.push_back(std::exp(static_cast<double>(logits[t]) - static_cast<double>(top)));
      total += terms.back();
    }
    const std::int64_t adds = kExpectationTokens + 3 * (count / kExpectationTokens + 1) + 16;
    ASSERT_NEAR(e.totals[static_cast<std::size_t>(row)], total, total * static_cast<double>(adds) * 0x1p-24);
    for (std::int64_t i = 0; i < hidden; i += 5) {
      ExactSum sum;
      for (std::int64_t t = 0; t < count; ++t) {
        sum.add(terms[static_cast<std::size_t>(t)] * static_cast<double>(e.embedding[static_cast<std::size_t>(t * hidden + i)]));
      }
      ASSERT_NEAR(e.sums[static_cast<std::size_t>(row * hidden + i)], sum.value, sum.bound(adds)) << "row " << row << " column " << i;
    }
  }
  EXPECT_TRUE(std::isnan(e.sums.back()));  // behind the real rows
}

TEST_P(ExpectationTest, PiecesMakeNoDifference) {
  Expected whole{.c = GetParam()}, pieces{.c = GetParam()};
  whole.run({whole.c.count});
  if (whole.c.count > kExpectationTokens) {
    pieces.run({kExpectationTokens, pieces.c.count - kExpectationTokens});
    const auto values = static_cast<std::size_t>(whole.c.rows * whole.c.hidden);
    EXPECT_EQ(std::memcmp(whole.sums.data(), pieces.sums.data(), values * sizeof(float)), 0);
    EXPECT_EQ(std::memcmp(whole.totals.data(), pieces.totals.data(), static_cast<std::size_t>(whole.c.rows) * sizeof(float)), 0);
  }
}

TEST_P(ExpectationTest, ARowIsItsOwn) {
  Expected all{.c = GetParam()};
  all.run({all.c.count});
  if (all.c.rows == 0) {
    return;
  }
  const std::int64_t last = all.c.rows - 1;
  Expected alone{.c = {1, all.c.count, all.c.hidden}};
  std::copy_n(all.logits.begin() + last * all.stride, all.c.count, alone.logits.begin());
  alone.run({alone.c.count});
  EXPECT_EQ(std::memcmp(all.sums.data() + last * all.c.hidden, alone.sums.data(), static_cast<std::size_t>(all.c.hidden) * sizeof(float)), 0);
}

INSTANTIATE_TEST_SUITE_P(Shapes, ExpectationTest,
                         testing::Values(Case{0, 300, 64}, Case{1, 1, 8}, Case{3, 1300, 96}, Case{35, 2500, 64}, Case{2, 1024, 1032}));

}  // namespace
}  // namespace unmask::experts::cuda
