// SPDX-License-Identifier: Apache-2.0
#include "runtime/micro_batch.h"

#include <gtest/gtest.h>

namespace unmask::runtime {
namespace {

StepBatch batch_of(const std::vector<std::int64_t>& rows) {
  StepBatch batch;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::int64_t begin = batch.add(std::vector<TokenId>(size(rows[i]), static_cast<TokenId>(i)), {.first_position = 100, .length = 200});
    batch.wanted.emplace_back(begin + rows[i] - 1);
  }
  return batch;
}

std::int64_t cut_at(const std::vector<std::int64_t>& rows) {
  const StepBatch batch = batch_of(rows);
  return BatchCut(batch).first_half();
}

TEST(BatchCut, LiesBetweenSequencesNearestToTheMiddle) {
  EXPECT_EQ(cut_at({}), 0);
  EXPECT_EQ(cut_at({7}), 7);
  EXPECT_EQ(cut_at({4, 4}), 4);
  EXPECT_EQ(cut_at({1, 1, 10}), 2);
  EXPECT_EQ(cut_at({10, 1, 1}), 10);
  EXPECT_EQ(cut_at({3, 3, 3}), 6);
  EXPECT_EQ(cut_at({5, 2, 1, 4, 3}), 8);
}

TEST(BatchCut, HalvesHaveAllRowsAndCountTheirOwn) {
  const StepBatch batch = batch_of({5, 2, 1, 4, 3});
  const BatchCut cut(batch);
  const StepBatch first = cut.half(0), second = cut.half(1);
  EXPECT_EQ(first.num_rows(), 8);
  ASSERT_EQ(first.sequences.size(), 3U);
  EXPECT_EQ(first.wanted, (std::vector{TokenRow(4), TokenRow(6), TokenRow(7)}));
  EXPECT_EQ(second.tokens, (std::vector<TokenId>{3, 3, 3, 3, 4, 4, 4}));
  ASSERT_EQ(second.sequences.size(), 2U);
  EXPECT_EQ(second.sequences[0].row_begin, 0);
  EXPECT_EQ(second.sequences[1].row_begin, 4);
  EXPECT_EQ(second.sequences[1].position(4), 100);
  EXPECT_EQ(second.wanted, (std::vector{TokenRow(3), TokenRow(6)}));
}

TEST(BatchCut, OfOneSequenceLeavesTheSecondHalfEmpty) {
  const StepBatch batch = batch_of({9});
  const StepBatch second = BatchCut(batch).half(1);
  EXPECT_EQ(second.num_rows(), 0);
  EXPECT_TRUE(second.sequences.empty());
  EXPECT_TRUE(second.wanted.empty());
}

TEST(RunsAsTwo, WhereBothHalvesOfAllRanksHaveEnoughRowsAndLinksAreSlow) {
  ModelConfig config;
  config.num_experts = 64;
  config.experts_per_token = 8;
  experts::KernelFamily kernels{};
  kernels.rows_that_hide_weights = 100;
  MicroBatching how{.link = {.latency_seconds = 1e-5, .bytes_per_second = 1e8}};
  const auto runs = [&](std::int64_t first, std::int64_t second) {
    return runs_as_two(how, {.votes = comm::Vote::kWork, .num_rows = first + second, .first_half = first}, config, kernels);
  };
  EXPECT_TRUE(runs(800, 800));
  EXPECT_FALSE(runs(799, 2000));
  EXPECT_FALSE(runs(2000, 799));
  EXPECT_FALSE(runs(2000, 0));
  how.count = MicroBatching::Count::kTwo;
  EXPECT_TRUE(runs(0, 0));
  how.count = MicroBatching::Count::kOne;
  EXPECT_FALSE(runs(800, 800));
  how = {.link = {.latency_seconds = 1e-6, .bytes_per_second = 2e10}};
  EXPECT_FALSE(runs(800, 800)) << "memory is no link";
  how.link = {};
  EXPECT_FALSE(runs(800, 800)) << "one rank alone";
}

}  // namespace
}  // namespace unmask::runtime
