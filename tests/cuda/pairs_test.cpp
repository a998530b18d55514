// SPDX-License-Identifier: Apache-2.0
// sort_pairs against a loop over experts and rows.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "product_testing.h"

namespace unmask::experts::cuda {
namespace {

struct Case {
  std::int64_t rows, top_k, num_experts, num_local;
};

class PairsTest : public testing::TestWithParam<Case> {};

TEST_P(PairsTest, AscendByExpertAndRow) {
  const auto [rows, top_k, num_experts, num_local] = GetParam();
  std::mt19937 random(7);
  // Every second expert is this rank's, as far as there are so many; the first of them stays idle.
  std::vector<std::int32_t> local_of(static_cast<std::size_t>(num_experts), -1);
  for (std::int64_t local = 0; local < num_local; ++local) {
    local_of[static_cast<std::size_t>(local * num_experts / num_local)] = static_cast<std::int32_t>(local);
  }
  std::vector<std::int32_t> ids, experts(static_cast<std::size_t>(num_experts - 1));
  for (std::int64_t row = 0; row < rows; ++row) {
    std::generate(experts.begin(), experts.end(), [next = 1]() mutable { return next++; });
    std::shuffle(experts.begin(), experts.end(), random);
    std::sort(experts.begin(), experts.begin() + top_k);
    for (std::int64_t i = 0; i < top_k; ++i) {
      ids.push_back(row % 7 == 5 ? -1 : experts[static_cast<std::size_t>(i)]);  // some rows are padding
    }
  }
  const auto weights = random_values(rows * top_k, 3);
  const auto device_ids = on_device(ids), device_local_of = on_device(local_of);
  const auto device_weights = on_device(weights);
  Array<std::int32_t> offsets(num_local + 1), pair_rows(rows * top_k), pair_of(rows * top_k);
  Array<std::int32_t> cursors(pairs_workspace(rows, top_k, num_local));
  Array<float> pair_weights(rows * top_k);
  Array<unsigned long long> wrong = on_device(std::vector<unsigned long long>{0});
  sort_pairs({.ids = device_ids.data(), .weights = device_weights.data(), .rows = rows, .top_k = top_k, .local_of = device_local_of.data(),
              .num_experts = num_experts, .num_local = num_local, .offsets = offsets.data(), .pair_rows = pair_rows.data(), .pair_weights = pair_weights.data(),
              .pair_of = pair_of.data(), .wrong = wrong.data(), .cursors = cursors.data()}, nullptr);

  std::vector<std::int32_t> expected_offsets{0}, expected_rows, expected_of(ids.size(), -1);
  std::vector<float> expected_weights;
  for (std::int64_t local = 0; local < num_local; ++local) {
    for (std::size_t place = 0; place < ids.size(); ++place) {
      if (ids[place] >= 0 && local_of[static_cast<std::size_t>(ids[place])] == local) {
        expected_of[place] = static_cast<std::int32_t>(expected_rows.size());
        expected_rows.push_back(static_cast<std::int32_t>(static_cast<std::int64_t>(place) / top_k));
        expected_weights.push_back(weights[place]);
      }
    }
    expected_offsets.push_back(static_cast<std::int32_t>(expected_rows.size()));
  }
  const auto pairs = static_cast<std::int64_t>(expected_rows.size());
  EXPECT_EQ(from_device(offsets.data(), num_local + 1), expected_offsets);
  EXPECT_EQ(from_device(pair_rows.data(), pairs), expected_rows);
  EXPECT_EQ(from_device(pair_weights.data(), pairs), expected_weights);
  EXPECT_EQ(from_device(pair_of.data(), rows * top_k), expected_of);
  EXPECT_EQ(from_device(wrong.data(), 1)[0], 0U);
}

/// Ids from a peer whose memory is bad: they index nothing, the last of them is told of, and all others are sorted as ever.
TEST(Pairs, IdsThatCannotBeAreNobodysAndToldOf) {
  constexpr std::int64_t kExperts = 4;
  for (const std::int64_t rows : {3, 300}) {
    for (const std::int32_t bad : {4, 1 << 20, 0x7fffffff, -2, -0x7fffffff - 1}) {
      std::vector<std::int32_t> ids(static_cast<std::size_t>(rows), 2);
      ids[0] = kNoExpert;
      ids[1] = bad;
      const auto device_ids = on_device(ids), local_of = on_device(std::vector<std::int32_t>{0, 1, 2, 3});
      const auto weights = on_device(std::vector<float>(ids.size(), 1.0F));
      Array<std::int32_t> offsets(kExperts + 1), pair_rows(rows), pair_of(rows), cursors(pairs_workspace(rows, 1, kExperts));
      Array<float> pair_weights(rows);
      Array<unsigned long long> wrong = on_device(std::vector<unsigned long long>{0});
      sort_pairs({.ids = device_ids.data(), .weights = weights.data(), .rows = rows, .top_k = 1, .local_of = local_of.data(),
                  .num_experts = kExperts, .num_local = kExperts, .offsets = offsets.data(), .pair_rows = pair_rows.data(),
                  .pair_weights = pair_weights.data(), .pair_of = pair_of.data(), .wrong = wrong.data(), .cursors = cursors.data()}, nullptr);
      EXPECT_EQ(from_device(wrong.data(), 1)[0], wrong_id(1, bad));
      EXPECT_EQ(from_device(offsets.data(), kExperts + 1)[kExperts], rows - 2);
      const auto of = from_device(pair_of.data(), rows);
      EXPECT_EQ(of[0], -1);
      EXPECT_EQ(of[1], -1);
      EXPECT_EQ(of[2], 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, PairsTest,
                         testing::Values(Case{0, 8, 64, 64}, Case{1, 8, 64, 32}, Case{32, 8, 64, 64}, Case{5, 1, 4, 4}, Case{5, 1, 4, 0},
                                         Case{255, 3, 11, 5}, Case{256, 8, 64, 64}, Case{257, 8, 64, 32}, Case{700, 2, 11, 1},
                                         Case{2500, 3, 300, 300}));

}  // namespace
}  // namespace unmask::experts::cuda
