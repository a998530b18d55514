// SPDX-License-Identifier: Apache-2.0
#include "experts/grouped_experts.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <tuple>

#include <gtest/gtest.h>

#include "experts/router.h"

namespace unmask::experts {
namespace {

Matrix random_matrix(std::int64_t rows, std::int64_t cols, std::mt19937& random) {
  Matrix m(rows, cols);
  std::normal_distribution<float> normal(0, 0.3F);
  std::generate_n(m.data(), rows * cols, [&] { return to_bfloat16(normal(random)); });
  return m;
}

struct Case {
  int threads;
  std::int64_t rows;
  std::int64_t width = 80;
};

class GroupedExpertsTest : public testing::TestWithParam<Case> {};

/// Slots against the slowest obvious code, in double precision; and bit for bit the same for any team.
TEST_P(GroupedExpertsTest, MatchesObviousLoops) {
  constexpr std::int64_t kHidden = 48, kExperts = 5;
  const std::int64_t kWidth = GetParam().width;
  std::mt19937 random(11);
  ExpertWeights experts;
  for (int e = 0; e < kExperts; ++e) {
    experts.push_back({random_matrix(kWidth, kHidden, random), random_matrix(kWidth, kHidden, random),
                       random_matrix(kHidden, kWidth, random)});
  }
  const auto rows = GetParam().rows;
  std::normal_distribution<float> normal;
  std::vector<float> x(size(rows * kHidden));
  std::generate(x.begin(), x.end(), [&] { return round_to_bfloat16(normal(random)); });
  std::vector<cluster::Assignment> assignments;
  for (int e = 0; e < kExperts; ++e) {
    for (std::int32_t r = 0; r < rows; ++r) {
      if (e != 3 && random() % 2 == 0) {  // expert 3 has nothing to do
        assignments.push_back({.row = r, .expert = LocalExpert(e), .weight = 0.1F * static_cast<float>(e + 1), .slot = r});
      }
    }
  }
  const cluster::ExpertWork work{.num_rows = rows, .num_slots = rows, .rows = x, .assignments = assignments};

  std::vector<double> expected(size(rows * kHidden));
  for (const auto& a : assignments) {
    const Expert& expert = experts[a.expert.at()];
    std::vector<double> h(size(kWidth));
    for (std::int64_t i = 0; i < kWidth; ++i) {
      double g = 0, u = 0;
      for (std::int64_t k = 0; k < kHidden; ++k) {
        g += double{x[size(a.row * kHidden + k)]} * double{to_float(expert.gate.row(i)[k])};
        u += double{x[size(a.row * kHidden + k)]} * double{to_float(expert.up.row(i)[k])};
      }
      h[size(i)] = g / (1 + std::exp(-g)) * u;
    }
    for (std::int64_t o = 0; o < kHidden; ++o) {
      double y = 0;
      for (std::int64_t i = 0; i < kWidth; ++i) {
        y += h[size(i)] * double{to_float(expert.down.row(o)[i])};
      }
      expected[size(a.slot * kHidden + o)] += double{a.weight} * y;
    }
  }
  double scale = 0;
  for (const double value : expected) {
    scale = std::max(scale, std::abs(value));
  }

  ThreadTeam team(GetParam().threads), alone(1);
  GroupedExperts grouped, reference;
  // Families that take rows come first: weights are packed once, in place.
  std::vector<const KernelFamily*> families(kernel_families().rbegin(), kernel_families().rend());
  std::erase_if(families, [](const KernelFamily* family) { return !family->supported(); });
  std::vector<std::tuple<const KernelFamily*, Precision, double>> runs;
  for (const KernelFamily* family : families) {
    for (const auto& [precision, bound] : {std::pair{Precision::kFloat32, 1e-5}, {Precision::kBfloat16, 2e-2}}) {
      if (family->serves(precision)) {
        runs.emplace_back(family, precision, bound);
      }
    }
  }
  for (const auto& [family, precision, bound] : runs) {
    const KernelFamily& kernels = *family;
    for (Expert& expert : experts) {
      for (Matrix* m : {&expert.gate, &expert.up, &expert.down}) {
        if (m->layout() != layout_of(kernels)) {
          m->pack();
        }
      }
    }
    const auto slots = grouped.run({&kernels, &team, precision}, experts, kHidden, work);
    ASSERT_EQ(slots.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_NEAR(slots[i], expected[i], bound * scale);
    }
    const auto same = reference.run({&kernels, &alone, precision}, experts, kHidden, work);
    EXPECT_TRUE(std::equal(slots.begin(), slots.end(), same.begin()));

    const auto later = std::find_if(assignments.begin(), assignments.end(), [](const auto& a) { return a.expert >= LocalExpert(2); });
    cluster::ExpertWork part = work;
    part.assignments = {assignments.begin(), later};
    reference.run({&kernels, &team, precision}, experts, kHidden, part);
    part.assignments = {later, assignments.end()};
    part.new_slots_begin = part.new_slots_end = rows;  // all slots have begun
    const auto in_parts = reference.run({&kernels, &team, precision}, experts, kHidden, part);
    EXPECT_TRUE(std::equal(slots.begin(), slots.end(), in_parts.begin()));
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, GroupedExpertsTest, testing::Values(Case{1, 0}, Case{1, 1}, Case{2, 9}, Case{3, 40}, Case{2, 600, 96}, Case{3, 1400, 64},
                                                                          Case{1, 33, 16}));

TEST(Router, TakesTheLowestOfEqualScoresAndRenormalises) {
  ThreadTeam team(2);
  const Compute compute{&choose_kernel_family("auto", Precision::kFloat32), &team, Precision::kFloat32};
  Matrix weight(4, 2);
  const float values[] = {1, 0, 2, 0, 2, 0, 2, 0};  // logits 1, 2, 2, 2 for x = (1, 0)
  std::transform(std::begin(values), std::end(values), weight.data(), to_bfloat16);
  const float x[] = {1, 0, NAN, 0};
  Router router({.top_k = 2, .weights = TopKWeights::kRenormalised});
  const auto routing = router.route(compute, x, 2, weight);
  EXPECT_EQ(routing.ids[0], ExpertId(1));
  EXPECT_EQ(routing.ids[1], ExpertId(2));
  EXPECT_FLOAT_EQ(routing.weights[0], 0.5F);
  EXPECT_NE(routing.ids[2], routing.ids[3]);  // a row of NaN still goes to two different experts
  Router plain({.top_k = 3});
  const auto three = plain.route(compute, x, 1, weight);
  const float total = 3 * std::exp(1.0F) + 1;
  EXPECT_NEAR(three.weights[0], std::exp(1.0F) / total, 1e-6);
}

}  // namespace
}  // namespace unmask::experts
