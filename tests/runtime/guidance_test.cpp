// SPDX-License-Identifier: Apache-2.0
#include "runtime/guidance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace unmask::runtime {
namespace {

using testing::ElementsAre;

TEST(JoinSides, MakesOneRowOfTwoAndClosesTheGaps) {
  std::vector<float> rows = {1, 2, 10, 20, 30, 40, 11, 18, 30, 44, 5, 6, 7, 8, 6, 6, 9, 9};
  //                         alone | with ......... | without ....... | alone |with |without| alone
  const std::vector<StepBatch::Guided> guided = {{.first = 1, .count = 2, .weight = 3}, {.first = 6, .count = 1, .weight = 1.5F}};
  const auto left = join_sides(rows, 2, guided);
  EXPECT_THAT(std::vector(left.begin(), left.end()), ElementsAre(1, 2, 8, 24, 30, 32, 5, 6, 7.5F, 9, 9, 9));
}

TEST(JoinSides, OneSequenceAlone) {
  std::vector<float> rows = {4, 2};
  EXPECT_THAT(join_sides(rows, 1, std::vector<StepBatch::Guided>{{.first = 0, .count = 1, .weight = 2}}), ElementsAre(6));
}

}  // namespace
}  // namespace unmask::runtime
