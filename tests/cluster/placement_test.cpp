// SPDX-License-Identifier: Apache-2.0
#include "cluster/placement.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace unmask::cluster {
namespace {

using testing::HasSubstr;

std::vector<std::int64_t> counts(const Placement& placement) {
  std::vector<std::int64_t> result;
  for (std::int64_t rank = 0; rank < placement.num_ranks(); ++rank) {
    result.push_back(static_cast<std::int64_t>(placement.held_by(Rank(rank)).size()));
  }
  return result;
}

std::int64_t num_whole(const Placement& placement) {
  std::int64_t whole = 0;
  for (std::int64_t g = 0; g < placement.groups().num_groups(); ++g) {
    whole += placement.is_whole(GroupId(g)) ? 1 : 0;
  }
  return whole;
}

TEST(ReductionGroups, DependOnTheNumberOfExpertsAlone) {
  const ReductionGroups of64{64};
  EXPECT_EQ(of64.group_size(), 8);
  EXPECT_EQ(of64.num_groups(), 8);
  EXPECT_EQ(of64.group_of(ExpertId(15)), GroupId(1));
  const ReductionGroups of11{11};  // fewer than 16: every expert a group of its own
  EXPECT_EQ(of11.group_size(), 1);
  EXPECT_EQ(of11.num_groups(), 11);
  const ReductionGroups of20{20};
  EXPECT_EQ(of20.group_size(), 2);
  EXPECT_EQ(of20.num_groups(), 10);
  const ReductionGroups of31{31};  // the last group is shorter
  EXPECT_EQ(of31.group_size(), 3);
  EXPECT_EQ(of31.num_groups(), 11);
  EXPECT_EQ(of31.group_of(ExpertId(30)), GroupId(10));
}

TEST(Placement, EvenKeepsGroupsWholeWhereThatCostsLittle) {
  EXPECT_EQ(counts(Placement::even(64, 1)), (std::vector<std::int64_t>{64}));
  EXPECT_EQ(counts(Placement::even(64, 4)), (std::vector<std::int64_t>{16, 16, 16, 16}));
  const Placement three = Placement::even(64, 3);  // 24 against an even share of 22: within a quarter
  EXPECT_EQ(counts(three), (std::vector<std::int64_t>{24, 24, 16}));
  EXPECT_EQ(num_whole(three), 8);
  EXPECT_EQ(counts(Placement::even(64, 5)), (std::vector<std::int64_t>{16, 16, 16, 8, 8}));  // 16 against 13: just within
}

TEST(Placement, EvenSplitsGroupsWhereWholeOnesWouldBeUneven) {
  const Placement six = Placement::even(64, 6);  // whole groups: 16 against 11
  EXPECT_EQ(counts(six), (std::vector<std::int64_t>{11, 11, 11, 11, 10, 10}));
  EXPECT_LT(num_whole(six), 8);
  const Placement sixteen = Placement::even(64, 16);
  EXPECT_EQ(counts(sixteen), std::vector<std::int64_t>(16, 4));
  EXPECT_EQ(num_whole(sixteen), 0);
}

TEST(Placement, OddNumbersAndMoreRanksThanExperts) {
  EXPECT_EQ(counts(Placement::even(11, 4)), (std::vector<std::int64_t>{3, 3, 3, 2}));
  EXPECT_EQ(counts(Placement::even(4, 13)), (std::vector<std::int64_t>{1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(counts(Placement::even(1, 2)), (std::vector<std::int64_t>{1, 0}));
}

TEST(Placement, EveryExpertLivesOnceAndIsAscendingOnItsRank) {
  for (const std::int64_t experts : {1, 2, 7, 8, 11, 16, 31, 64, 100, 256, 257}) {
    for (std::int64_t ranks = 1; ranks <= 40; ++ranks) {
      const Placement placement = Placement::even(experts, ranks);
      std::int64_t total = 0;
      for (std::int64_t r = 0; r < ranks; ++r) {
        const auto held = placement.held_by(Rank(r));
        EXPECT_TRUE(std::is_sorted(held.begin(), held.end()));
        EXPECT_LE(4 * static_cast<std::int64_t>(held.size()), 5 * ((experts + ranks - 1) / ranks));
        total += static_cast<std::int64_t>(held.size());
        for (std::size_t i = 0; i < held.size(); ++i) {
          EXPECT_EQ(placement.owner(held[i]), Rank(r));
          EXPECT_EQ(placement.local(held[i]), LocalExpert(i));
        }
      }
      EXPECT_EQ(total, experts);
    }
  }
}

TEST(Placement, AGroupIsWholeExactlyWhenOneRankHoldsIt) {
  std::vector<Rank> owner(32, Rank(0));  // 8 groups of 4
  owner[5] = Rank(2);                    // splits group 1
  for (std::size_t e = 28; e < 32; ++e) {
    owner[e] = Rank(1);                  // group 7 moves as a whole
  }
  const Placement placement(owner, 3);
  for (std::int64_t g = 0; g < 8; ++g) {
    EXPECT_EQ(placement.is_whole(GroupId(g)), g != 1) << "group " << g;
  }
  EXPECT_EQ(placement.local(ExpertId(6)), LocalExpert(5));
  EXPECT_EQ(placement.held_by(Rank(2)).size(), 1U);
}

TEST(Placement, RefusesARankThatIsNotThere) {
  try {
    const Placement placement({Rank(0), Rank(3)}, 3);
    FAIL() << "was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::kUsage);
    EXPECT_THAT(e.what(), HasSubstr("expert 1 is placed on rank 3: expected a rank from 0 to 2"));
  }
  EXPECT_THROW(Placement({Rank(-1)}, 1), Error);
  EXPECT_THROW(Placement::even(4, 0), Error);
}

}  // namespace
}  // namespace unmask::cluster
