// SPDX-License-Identifier: Apache-2.0
#include "experts/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "experts/kernel_check.h"

namespace unmask::experts {
namespace {

class KernelsTest : public testing::TestWithParam<const KernelFamily*> {
 protected:
  void SetUp() override {
    if (!GetParam()->supported()) {
      GTEST_SKIP() << GetParam()->name << " needs " << GetParam()->needs;
    }
  }
};

TEST_P(KernelsTest, AgreeWithDoublePrecision) {
  for (const auto& check : check_kernels(*GetParam())) {
    EXPECT_LE(check.difference, check.bound) << check.what;
  }
}

TEST_P(KernelsTest, ForcedByNameIsTheOneThatRuns) { EXPECT_EQ(&choose_kernel_family(GetParam()->name), GetParam()); }

/// Every row count from 1 to 70, random neighbours: a row's product never changes, bit for bit.
TEST_P(KernelsTest, RowsDoNotDependOnTheirNeighbours) {
  constexpr std::int64_t kInputs = 83, kOutputs = 19;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<bfloat16> w(kInputs * kOutputs);
  std::generate(w.begin(), w.end(), [&] { return to_bfloat16(normal(random)); });
  std::vector<float> probe(kInputs);
  std::generate(probe.begin(), probe.end(), [&] { return normal(random); });
  std::vector<float> expected;
  for (std::int64_t rows = 1; rows <= 70; ++rows) {
    std::vector<float> x(size(rows * kInputs)), y(size(rows * kOutputs));
    std::generate(x.begin(), x.end(), [&] { return normal(random); });
    const std::int64_t place = static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(rows));
    std::copy(probe.begin(), probe.end(), x.begin() + place * kInputs);
    GetParam()->gemm({.x = x.data(), .x_stride = kInputs, .rows = rows, .w = w.data(), .k = kInputs, .n_begin = 0,
                      .n_end = kOutputs, .y = y.data(), .y_stride = kOutputs});
    const std::vector<float> got(y.begin() + place * kOutputs, y.begin() + (place + 1) * kOutputs);
    if (rows == 1) {
      expected = got;
    }
    EXPECT_EQ(std::memcmp(got.data(), expected.data(), kOutputs * sizeof(float)), 0) << "among " << rows << " rows";
  }
}

TEST_P(KernelsTest, SummaryTakesTheLowestOfEqualTokensAndHonoursSkips) {
  const std::vector<float> logits = {1, 5, 5, 2, 5, 3};
  const auto all = GetParam()->summarise({.logits = logits.data(), .count = 6, .first = 10, .excluded = -1, .skip = {}});
  EXPECT_EQ(all.top_token, 11);
  EXPECT_EQ(all.best_token, 11);
  const auto excluded = GetParam()->summarise({.logits = logits.data(), .count = 6, .first = 10, .excluded = 11, .skip = {}});
  EXPECT_EQ(excluded.top_token, 11);
  EXPECT_EQ(excluded.best_token, 12);
  EXPECT_EQ(excluded.others, all.others);
  const std::vector<TokenId> skip = {3, 11, 12, 14, 99};
  const auto skipped = GetParam()->summarise({.logits = logits.data(), .count = 6, .first = 10, .excluded = -1, .skip = skip});
  EXPECT_EQ(skipped.top_token, 15);
  EXPECT_NEAR(skipped.others, std::exp(-2.0) + std::exp(-1.0), 1e-6);
  const std::vector<TokenId> everything = {10, 11, 12, 13, 14, 15};
  EXPECT_EQ(GetParam()->summarise({.logits = logits.data(), .count = 6, .first = 10, .excluded = -1, .skip = everything}).top_token, -1);
}

TEST_P(KernelsTest, SummaryFindsWhatIsNotFinite) {
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    std::vector<float> logits(40, 1.0F);
    logits[37] = bad;
    EXPECT_FALSE(GetParam()->summarise({.logits = logits.data(), .count = 40, .first = 0, .excluded = 0, .skip = {}}).finite);
  }
}

TEST_P(KernelsTest, SoftmaxKeepsNotANumber) {
  std::vector<float> x = {1, std::nanf(""), 2};
  GetParam()->softmax(x.data(), 1, 3);
  EXPECT_TRUE(std::isnan(x[0]));
}

INSTANTIATE_TEST_SUITE_P(Families, KernelsTest, testing::ValuesIn(kernel_families().begin(), kernel_families().end()),
                         [](const auto& instance) { return std::string(instance.param->name); });

TEST(KernelTable, RefusesUnknownNamesAndListsTheKnown) {
  try {
    choose_kernel_family("avx1024");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::kUsage);
    EXPECT_NE(std::string(e.what()).find("portable"), std::string::npos);
  }
}

TEST(KernelTable, EndsWithAFamilyThatRunsEverywhere) { EXPECT_TRUE(kernel_families().back()->supported()); }

}  // namespace
}  // namespace unmask::experts
