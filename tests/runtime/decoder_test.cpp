// SPDX-License-Identifier: Apache-2.0
#include "runtime/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace unmask::runtime {
namespace {

using testing::ElementsAre;

constexpr float kNo = kNotMasked;

std::vector<std::int64_t> choose(const SamplingOptions& options, const std::vector<float>& confidence, std::int64_t planned = 1) {
  return choose_positions(confidence, options, {.planned = planned, .threshold = options.threshold});
}

TEST(PlannedUnmasks, SharesABlockOverItsSteps) {
  const SamplingOptions options{.gen_length = 30, .block_length = 13, .steps = 12};  // 3 blocks, 4 steps each
  EXPECT_EQ(planned_unmasks(options, 13, 0), 4);
  EXPECT_EQ(planned_unmasks(options, 13, 1), 3);
  EXPECT_EQ(planned_unmasks(options, 13, 3), 3);
  EXPECT_EQ(planned_unmasks(options, 13, 4), 1);  // beyond the plan
  EXPECT_EQ(planned_unmasks(options, 4, 0), 1);   // the short last block
}

TEST(PlannedUnmasks, NeedsAtLeastOneStepPerBlock) {
  EXPECT_EQ(planned_unmasks({.gen_length = 30, .block_length = 10, .steps = 1}, 10, 0), 10);
  EXPECT_EQ(planned_unmasks({.gen_length = 30, .block_length = 10}, 10, 0), 1);  // steps: gen_length
}

TEST(ChoosePositions, StepsTakesTheMostConfidentAndTheLowerOfEquals) {
  const SamplingOptions options{.decoder = DecoderKind::kSteps};
  EXPECT_THAT(choose(options, {0.5F, kNo, 0.9F, 0.5F, 0.1F}, 2), ElementsAre(0, 2));
  EXPECT_THAT(choose(options, {0.5F, kNo, 0.9F, 0.5F}, 0), ElementsAre(2));
  EXPECT_THAT(choose(options, {0.5F, kNo}, 7), ElementsAre(0));
}

TEST(ChoosePositions, ThresholdTakesAllAtLeastItAndAlwaysTheBest) {
  const SamplingOptions options{.decoder = DecoderKind::kThreshold, .threshold = 0.9};
  EXPECT_THAT(choose(options, {0.9F, kNo, 0.95F, 0.89F}), ElementsAre(0, 2));
  EXPECT_THAT(choose(options, {0.2F, 0.3F, 0.3F}), ElementsAre(1));
}

TEST(ChoosePositions, FactorStopsAtTheFirstFailure) {
  const SamplingOptions options{.decoder = DecoderKind::kFactor, .factor = 1.0};  // c2 >= 2/3, c3 >= 3/4, c4 >= 4/5
  EXPECT_THAT(choose(options, {0.7F, 0.8F, 0.9F}), ElementsAre(1, 2));
  EXPECT_THAT(choose(options, {0.76F, 0.8F, 0.9F, kNo, 0.1F}), ElementsAre(0, 1, 2));
  EXPECT_THAT(choose(options, {0.1F, 0.6F}), ElementsAre(1));
}

TEST(ChoosePositions, HierarchyTakesTheBestOfEachRun) {
  const SamplingOptions options{.decoder = DecoderKind::kHierarchy, .threshold = 0.9, .low_threshold = 0.4};
  EXPECT_THAT(choose(options, {0.5F, 0.5F, kNo, 0.4F, kNo, 0.6F, 0.95F, 0.92F}), ElementsAre(0, 6, 7));
  EXPECT_THAT(choose(options, {0.1F, kNo, 0.2F}), ElementsAre(2));  // below low_threshold: only the best of all
}

TEST(PlanStep, SmoothingLowersTheThresholdFromPassToPass) {
  SamplingOptions options{.threshold = 0.9, .threshold_decay = 0.04};
  EXPECT_EQ(plan_step(options, {.block_size = 8, .step = 1, .pass = 0}).threshold, 0.9);
  options.smoothing = true;
  EXPECT_EQ(plan_step(options, {.block_size = 8, .step = 0, .pass = 0}).threshold, 1.0);
  EXPECT_EQ(plan_step(options, {.block_size = 8, .step = 0, .pass = 2}).threshold, 1.0 - 0.04 * 2.0);
  EXPECT_EQ(plan_step(options, {.block_size = 8, .step = 0, .pass = 3}).threshold, 0.9);
}

TEST(ChoosePositions, WithoutAnyMaskedPositionIsABug) { EXPECT_THROW(choose({}, {kNo, kNo}), std::logic_error); }

}  // namespace
}  // namespace unmask::runtime
