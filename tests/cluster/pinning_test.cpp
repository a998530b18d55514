// SPDX-License-Identifier: Apache-2.0
#include "cluster/pinning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace unmask::cluster {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<int> cores(int first, int last) {
  std::vector<int> all;
  for (int core = first; core <= last; ++core) {
    all.push_back(core);
  }
  return all;
}

TEST(PlanPins, OneRankTakesItsCores) {
  EXPECT_THAT(plan_pins(std::vector<PinWish>{{cores(0, 3), 4}}, 4, 0).cores, ElementsAre(cores(0, 3)));
}

TEST(PlanPins, RanksThatShareCoresSplitThem) {
  const std::vector<PinWish> ranks = {{cores(0, 7), 3}, {cores(0, 7), 3}, {cores(0, 7), 2}};
  EXPECT_THAT(plan_pins(ranks, 8, 0).cores, ElementsAre(cores(0, 2), cores(3, 5), cores(6, 7)));
}

TEST(PlanPins, RanksBoundApartStayInTheirBindings) {
  const std::vector<PinWish> ranks = {{cores(4, 7), 4}, {cores(0, 3), 2}};
  EXPECT_THAT(plan_pins(ranks, 16, 0).cores, ElementsAre(cores(4, 7), cores(0, 1)));
}

TEST(PlanPins, WhoHasFewCoresIsServedFirst) {
  const std::vector<PinWish> ranks = {{cores(0, 3), 2}, {cores(0, 1), 2}};
  EXPECT_THAT(plan_pins(ranks, 4, 0).cores, ElementsAre(cores(2, 3), cores(0, 1)));
}

TEST(PlanPins, NobodyIsPinnedWhereCoresAreNotOurs) {
  const auto why_not = [](std::vector<PinWish> ranks, std::int64_t host, double quota) {
    const PinPlan plan = plan_pins(ranks, host, quota);
    EXPECT_THAT(plan.cores, IsEmpty());
    return plan.why_not;
  };
  EXPECT_THAT(why_not({{cores(0, 1), 1}, {cores(0, 1), 1}, {cores(0, 1), 1}}, 2, 0), HasSubstr("3 threads share 2 cores"));
  EXPECT_THAT(why_not({{cores(0, 7), 4}}, 8, 4), HasSubstr("quota allows the time of 4 of 8"));
  EXPECT_THAT(why_not({{cores(0, 7), 4}}, 8, 0), HasSubstr("leave some of the host's 8 cores"));
  EXPECT_THAT(why_not({{cores(0, 1), 1}, {cores(0, 0), 2}}, 4, 0), HasSubstr("3 threads share 2"));
  EXPECT_THAT(why_not({{cores(0, 3), 1}, {cores(0, 0), 2}}, 8, 0), HasSubstr("1 free cores for 2 threads"));
  EXPECT_THAT(why_not({{{}, 1}}, 1, 0), HasSubstr("1 threads share 0 cores")) << "a machine that shows no cores";
}

TEST(PlanPins, ListsCoresAsPeopleDo) {
  EXPECT_EQ(list_cores(std::vector<int>{0, 1, 2, 5, 7, 8}), "0-2 5 7-8");
  EXPECT_EQ(list_cores({}), "");
}

TEST(Pin, HoldsAThreadOnACoreUntilItGoes) {
  std::thread([] {
    const std::vector<int> before = cores_of_binding();
    ASSERT_FALSE(before.empty());
    {
      const Pin pin(before.back());
      ASSERT_TRUE(pin.holds());
      EXPECT_THAT(cores_of_binding(), ElementsAre(before.back()));
      EXPECT_THAT(units_of_thread(), ElementsAre(before.back()));
      std::thread([&] {
        EXPECT_THAT(cores_of_binding(), ElementsAre(before.back())) << "a thread begins where its maker is";
        leave_pins();
        EXPECT_EQ(cores_of_binding(), before);
      }).join();
    }
    EXPECT_EQ(cores_of_binding(), before);
    const Pin nowhere(30'000);
    EXPECT_FALSE(nowhere.holds()) << "there is no such core";
    EXPECT_EQ(cores_of_binding(), before);
  }).join();
}

}  // namespace
}  // namespace unmask::cluster
