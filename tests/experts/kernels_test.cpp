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
#include "experts/linear.h"

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

TEST_P(KernelsTest, ForcedByNameIsTheOneThatRuns) { 
  EXPECT_EQ(&choose_kernel_family(GetParam()->name, Precision::kBfloat16), GetParam());
}

TEST_P(KernelsTest, AutoLeavesItOutWhereItIsSlow) {
  KernelFamily slow = *GetParam();
  slow.slow_here = [] { return true; };
  EXPECT_FALSE(is_for_auto(slow, Precision::kBfloat16));
  EXPECT_EQ(is_for_auto(*GetParam(), Precision::kBfloat16), !GetParam()->is_slow());
  EXPECT_TRUE(is_for_auto(choose_kernel_family("auto", Precision::kBfloat16), Precision::kBfloat16));
}

TEST_P(KernelsTest, ServesFloat32OrSaysThatItDoesNot) {
  if (GetParam()->serves(Precision::kFloat32)) {
    EXPECT_EQ(&choose_kernel_family(GetParam()->name, Precision::kFloat32), GetParam());
    return;
  }
  EXPECT_NE(&choose_kernel_family("auto", Precision::kFloat32), GetParam());
  try {
    choose_kernel_family(GetParam()->name, Precision::kFloat32);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::kUsage);
    EXPECT_NE(std::string(e.what()).find("f32"), std::string::npos);
  }
}

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
  for (int i = 0; i < 140; ++i) {
    const Precision precision = i < 70 ? Precision::kFloat32 : Precision::kBfloat16;
    const std::int64_t rows = 1 + i % 70;
    std::vector<float> x(size(rows * kInputs)), y(size(rows * kOutputs));
    std::generate(x.begin(), x.end(), [&] { return normal(random); });
    const std::int64_t place = static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(rows));
    std::copy(probe.begin(), probe.end(), x.begin() + place * kInputs);
    GetParam()->gemm({.x = x.data(), .x_stride = kInputs, .rows = rows, .w = w.data(), .k = kInputs, .n_begin = 0,
                      .n_end = kOutputs, .y = y.data(), .y_stride = kOutputs, .precision = precision});
    const std::vector<float> got(y.begin() + place * kOutputs, y.begin() + (place + 1) * kOutputs);
    if (rows == 1) {
      expected = got;
    }
    EXPECT_EQ(std::memcmp(got.data(), expected.data(), kOutputs * sizeof(float)), 0) << "among " << rows << " rows";
  }
}

/// The same as the family stores the weights of large products, for teams of 1 to 3; and pieces of it, as the head asks.
void expect_independent_products(const KernelFamily& family, Precision precision) {
  constexpr std::int64_t kInputs = 335, kOutputs = 147;
  std::mt19937 random(6);
  std::normal_distribution<float> normal;
  Matrix w(kOutputs, kInputs);
  std::generate_n(w.data(), kOutputs * kInputs, [&] { return to_bfloat16(normal(random)); });
  if (layout_of(family) == Layout::kPanels) {
    w.pack();
  }
  std::vector<float> probe(kInputs), expected(kOutputs);
  std::generate(probe.begin(), probe.end(), [&] { return round_to_bfloat16(normal(random)); });
  ThreadTeam one(1), two(2), three(3);
  linear({&family, &one, precision}, probe.data(), 1, w, expected.data());
  for (std::int64_t rows = 1; rows <= 70; ++rows) {
    std::vector<float> x(size(rows * kInputs));
    std::generate(x.begin(), x.end(), [&] { return round_to_bfloat16(normal(random)); });
    const std::int64_t place = static_cast<std::int64_t>(random() % static_cast<std::uint32_t>(rows));
    std::copy(probe.begin(), probe.end(), x.begin() + place * kInputs);
    for (ThreadTeam* team : {&one, &two, &three}) {
      const Compute compute{&family, team, precision};
      std::vector<float> y(size(rows * kOutputs));
      linear(compute, x.data(), rows, w, y.data());
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), y.begin() + place * kOutputs)) << "among " << rows << " rows";
      if (team == &two) {
        std::vector<float> piece(size(rows * 48), NAN);
        LinearInput(compute, x.data(), rows, w).multiply(w, {.row_begin = 0, .row_end = rows, .n_begin = 64, .n_end = 101,
                                                          .y = piece.data(), .y_stride = 48});
        EXPECT_TRUE(std::equal(expected.begin() + 64, expected.begin() + 101, piece.begin() + place * 48));
        EXPECT_TRUE(std::isnan(piece[37])) << "written beyond the piece";
      }
    }
  }
}

TEST_P(KernelsTest, ProductsDoNotDependOnNeighboursTeamsOrPieces) {
  for (const Precision precision : {Precision::kBfloat16, Precision::kFloat32}) {
    if (GetParam()->serves(precision)) {
      expect_independent_products(*GetParam(), precision);
    }
  }
}

TEST_P(KernelsTest, RefusesWeightsInALayoutThatItDoesNotTake) {
  Matrix w(16, 32);
  std::fill_n(w.data(), 16 * 32, bfloat16{});
  w.pack();
  EXPECT_ANY_THROW(w.row(0));
  ThreadTeam team(1);
  const std::vector<float> x(32);
  std::vector<float> y(16, 1.0F);
  if (layout_of(*GetParam()) == Layout::kRows) {
    EXPECT_ANY_THROW(linear({GetParam(), &team, Precision::kBfloat16}, x.data(), 1, w, y.data()));
  } else {
    if (!GetParam()->serves(Precision::kFloat32)) {
      EXPECT_ANY_THROW(linear({GetParam(), &team, Precision::kFloat32}, x.data(), 1, w, y.data()));
    }
    linear({GetParam(), &team, Precision::kBfloat16}, x.data(), 1, w, y.data());
    EXPECT_EQ(y[15], 0.0F);
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

/// Many equal logits, in every place: the lowest token wins, and a token left out by name changes nothing for the others.
TEST_P(KernelsTest, SummaryOfATileIsThatOfItsTokens) {
  std::mt19937 random(13);
  for (const std::int64_t count : {15, 16, 17, 100, 256}) {
    for (int round = 0; round < 50; ++round) {
      std::vector<float> logits(size(count));
      std::generate(logits.begin(), logits.end(), [&] { return static_cast<float>(random() % 7) - 9; });
      const auto top = std::max_element(logits.begin(), logits.end()) - logits.begin();
      const auto s = GetParam()->summarise({.logits = logits.data(), .count = count, .first = 500, .excluded = -1, .skip = {}});
      EXPECT_EQ(s.top_token, 500 + top);
      EXPECT_EQ(s.best_token, s.top_token);
      EXPECT_EQ(s.top, logits[size(top)]);
      const auto other = GetParam()->summarise({.logits = logits.data(), .count = count, .first = 500, .excluded = s.top_token, .skip = {}});
      EXPECT_EQ(other.top_token, s.top_token);
      EXPECT_NE(other.best_token, s.top_token);
      EXPECT_EQ(other.others, s.others);
      const std::vector<TokenId> none_of_these = {1, 499};  // takes the way token by token
      const auto slow = GetParam()->summarise({.logits = logits.data(), .count = count, .first = 500, .excluded = -1, .skip = none_of_these});
      EXPECT_EQ(slow.top_token, s.top_token);
      EXPECT_EQ(slow.others, s.others);
    }
  }
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
    choose_kernel_family("avx1024", Precision::kBfloat16);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::kUsage);
    EXPECT_NE(std::string(e.what()).find("portable"), std::string::npos);
  }
}

TEST(KernelTable, EndsWithAFamilyThatRunsEverywhere) { EXPECT_TRUE(kernel_families().back()->supported()); }

}  // namespace
}  // namespace unmask::experts
