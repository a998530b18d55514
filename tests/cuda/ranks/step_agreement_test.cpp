// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/step_agreement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/threads/thread_world.h"
#include "tests/comm/lost_peer.h"

namespace unmask::comm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using threads::ThreadWorld;

TEST(StepAgreement, AllRanksKnowTheRowsOfAll) {
  for (const std::int64_t num_ranks : {1, 2, 3, 5}) {
    ThreadWorld(num_ranks, Deadline{std::chrono::seconds(10)}).run([&](Communicator& comm) {
      StepAgreement agreement(comm);
      for (std::int64_t step = 0; step < 5; ++step) {
        const std::int64_t rank = comm.rank().value;
        const bool stops = step == 3 && rank == num_ranks - 1;
        const AgreedStep agreed = agreement.agree(stops ? Vote::kStop : Vote::kWork, {.rows = 10 * rank + step, .wanted = step});
        EXPECT_EQ(has(agreed.votes, Vote::kStop), step == 3);
        EXPECT_EQ(has(agreed.votes, Vote::kWork), !(step == 3 && num_ranks == 1));
        ASSERT_EQ(std::ssize(agreed.ranks), num_ranks);
        for (std::int64_t r = 0; r < num_ranks; ++r) {
          EXPECT_EQ(agreed.ranks[size(r)], (StepRows{10 * r + step, step}));
        }
      }
    });
  }
}

TEST(StepAgreement, ALostRankIsNamed) {
  EXPECT_THAT(test::lost_peer([] {
                ThreadWorld(3, Deadline{std::chrono::milliseconds(400)}).run([](Communicator& comm) {
                  if (comm.rank() != Rank(2)) {
                    StepAgreement(comm).agree(Vote::kWork, {1, 1});
                  }
                });
              }),
              HasSubstr("rank 2"));
}

TEST(StepAgreement, WhatCannotBeIsRefused) {
  EXPECT_THAT(test::lost_peer([] {
                ThreadWorld(2, Deadline{std::chrono::seconds(5)}).run([](Communicator& comm) {
                  StepAgreement(comm).agree(Vote::kWork, comm.is_root() ? StepRows{5, 6} : StepRows{5, 5});
                });
              }),
              HasSubstr("rank 0"));
  EXPECT_THAT(test::lost_peer([] {
                ThreadWorld(2, Deadline{std::chrono::seconds(5)}).run([](Communicator& comm) {
                  StepAgreement agreement(comm), other(comm);
                  agreement.agree(Vote::kWork, {});
                  (comm.is_root() ? agreement : other).agree(Vote::kWork, {});
                });
              }),
              HasSubstr("out of step"));
}

TEST(SizeClass, HoldsTheRowsAndGrowsWithThem) {
  EXPECT_EQ(size_class(0), 0);
  EXPECT_EQ(size_class(1), 16);
  EXPECT_EQ(size_class(256), 256);
  EXPECT_EQ(size_class(257), 320);
  EXPECT_EQ(size_class(1025), 1280);
  for (std::int64_t rows = 1; rows < 5000; ++rows) {
    EXPECT_GE(size_class(rows), rows);
    EXPECT_GE(size_class(rows), size_class(rows - 1));
    EXPECT_EQ(size_class(size_class(rows)), size_class(rows));
    EXPECT_LE(size_class(rows), std::max<std::int64_t>(16, 2 * rows));
  }
}

TEST(StepShape, SmallStepsGiveAllRanksTheSameRoom) {
  const StepShape small = shape_of({.votes = {}, .ranks = {{0, 0}, {100, 3}, {17, 17}}});
  EXPECT_THAT(small.rows, ElementsAre(112, 112, 112));
  EXPECT_THAT(small.wanted, ElementsAre(32, 32, 32));
  const StepShape large = shape_of({.votes = {}, .ranks = {{0, 0}, {3000, 300}, {17, 17}}});
  EXPECT_THAT(large.rows, ElementsAre(0, 3072, 32));
  EXPECT_THAT(large.wanted, ElementsAre(0, 320, 32));
  const StepShape none = shape_of({.votes = {}, .ranks = {{4, 0}, {0, 0}}});
  EXPECT_THAT(none.wanted, ElementsAre(0, 0));
}

TEST(StepShape, RoomServesAllShapesSoFar) {
  const StepShape a{.rows = {320, 16}, .wanted = {32, 0}, .sequences = 4, .is_guided = true};
  const StepShape b{.rows = {16, 320}, .wanted = {64, 0}, .sequences = 2, .is_guided = false};
  const StepShape room = room_for(room_for({}, a), b);
  EXPECT_EQ(room, (StepShape{.rows = {320, 320}, .wanted = {64, 0}, .sequences = 4, .is_guided = false}));
  EXPECT_EQ(room_for(room, a), room);
  EXPECT_EQ(room_for(b, a), room);
}

}  // namespace
}  // namespace unmask::comm
