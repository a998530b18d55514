// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/clock.h"
#include "cluster/placement.h"
#include "comm/exchange.h"
#include "comm/flight.h"
#include "comm/threads/thread_world.h"
#include "tests/comm/communicator_cases.h"
#include "tests/comm/lost_peer.h"

namespace unmask::comm::test {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using threads::ThreadWorld;

class CommunicatorOverThreads : public testing::TestWithParam<int> {
 protected:
  ThreadWorld world_{GetParam()};
};

TEST_P(CommunicatorOverThreads, KnowsWhoTakesPart) { world_.run(check_identity); }
TEST_P(CommunicatorOverThreads, AllGathers) {
  world_.run([](Communicator& comm) { check_all_gather(comm, 1 << 20); });
}
TEST_P(CommunicatorOverThreads, Broadcasts) {
  world_.run([](Communicator& comm) { check_broadcast(comm, 1 << 20); });
}
TEST_P(CommunicatorOverThreads, BarrierHoldsEveryoneBack) { world_.run(check_barrier_holds_everyone_back); }
TEST_P(CommunicatorOverThreads, PostsArriveInOrderPerSender) {
  world_.run([](Communicator& comm) { check_posts(comm, 2000); });
}
TEST_P(CommunicatorOverThreads, HandshakeNamesTheOddRank) { world_.run(check_require_same); }
TEST_P(CommunicatorOverThreads, AgreesOnTheFirstError) { world_.run(check_agree); }

INSTANTIATE_TEST_SUITE_P(Ranks, CommunicatorOverThreads, testing::Values(1, 2, 3, 4, 8, 13));

TEST(Deadline, NamesTheRankThatNeverComes) {
  ThreadWorld world(3, {milliseconds(50)});
  const auto absent = world.communicator(Rank(1));  // there, but silent
  const auto comm = world.communicator(Rank(0));
  const auto third = world.communicator(Rank(2));
  third->wires().start_send(Lane::kControl, Rank(0), {});
  EXPECT_THAT(lost_peer([&] { comm->barrier(); }),
              AllOf(HasSubstr("waited 0.0"), HasSubstr(" s for rank 1 (host "), HasSubstr("barrier, lane control"), HasSubstr("0 bytes, 0 seen")));
}

TEST(Deadline, EndsAnExchangeThatOneRankDoesNotJoin) {
  ThreadWorld world(2, {milliseconds(50)});
  const auto absent = world.communicator(Rank(1));
  const auto comm = world.communicator(Rank(0));
  const auto placement = cluster::Placement::even(4, 2);
  ThreadTeam team(1);
  const auto exchange = make_exchange(*comm, placement, team, {.hidden = 8});
  EXPECT_THAT(lost_peer([&] {
                exchange->dispatch({}, {0, 2, {}, {}}, {});
                exchange->arrive();
              }),
              AllOf(HasSubstr("rank 1"), HasSubstr("dispatch, counts"), HasSubstr("of 28 bytes")));
}

TEST(Deadline, ZeroWaitsOn) {
  ThreadWorld world(2, {milliseconds(0)});
  world.run([](Communicator& comm) {
    if (comm.is_root()) {
      std::this_thread::sleep_for(milliseconds(30));
    }
    comm.barrier();
  });
}

TEST(ThreadWorld, PassesOnTheErrorThatCameFirstAndFreesTheOthers) {
  ThreadWorld world(4, {std::chrono::seconds(60)});
  const Stopwatch watch;
  try {
    world.run([](Communicator& comm) {
      require(comm.rank() != Rank(2), ExitCode::kIo, "disk full");
      comm.barrier();
    });
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "disk full");
  }
  EXPECT_LT(watch.seconds(), 30) << "nobody waits for the deadline";
  world.run([](Communicator& comm) { comm.barrier(); });
}

TEST(PointToPoint, RefusesAMessageOfAnotherSize) {
  ThreadWorld world(2);
  const auto a = world.communicator(Rank(0));
  const auto b = world.communicator(Rank(1));
  const Bytes message(8);
  for (const bool receive_first : {true, false}) {
    Bytes room(4);
    Flight in(b->wires(), "rows");
    if (receive_first) {
      in.receive(Lane::kCombine, Rank(0), room);
    }
    a->wires().start_send(Lane::kCombine, Rank(1), message);
    if (!receive_first) {
      in.receive(Lane::kCombine, Rank(0), room);
    }
    EXPECT_THAT(lost_peer([&] { in.wait(); }), AllOf(HasSubstr("rank 0"), HasSubstr("expected 4 bytes, found 8")));
  }
}

TEST(PointToPoint, KeepsLanesApartAndOrderWithinOne) {
  ThreadWorld world(2);
  const auto a = world.communicator(Rank(0));
  const auto b = world.communicator(Rank(1));
  const Bytes first{std::byte{1}};
  const Bytes second{std::byte{2}};
  const Bytes other{std::byte{3}};
  a->wires().start_send(Lane::kDispatch, Rank(1), first);
  a->wires().start_send(Lane::kDispatch, Rank(1), second);
  a->wires().start_send(Lane::kCombine, Rank(1), other);
  Bytes got(3);
  Flight in(b->wires(), "rows");
  in.receive(Lane::kCombine, Rank(0), std::span(got).subspan(2, 1));
  in.receive(Lane::kDispatch, Rank(0), std::span(got).subspan(0, 1));
  in.receive(Lane::kDispatch, Rank(0), std::span(got).subspan(1, 1));
  in.wait();
  EXPECT_EQ(got, (Bytes{std::byte{1}, std::byte{2}, std::byte{3}}));
}

}  // namespace
}  // namespace unmask::comm::test
