// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "comm/flight.h"
#include "comm/parcel.h"
#include "comm/threads/thread_world.h"
#include "tests/comm/exchange_cases.h"

namespace unmask::comm::test {
namespace {

using testing::HasSubstr;

class ExchangeOverThreads : public testing::TestWithParam<std::tuple<int, ExchangeCase>> {};

TEST_P(ExchangeOverThreads, GivesTheBitsOfTheReference) {
  const auto& [num_ranks, test_case] = GetParam();
  for (const auto& setting : exchange_settings()) {
    threads::ThreadWorld(num_ranks).run([&](Communicator& comm) { run_exchange_case(comm, test_case, setting); });
  }
}

TEST_P(ExchangeOverThreads, FastCombineStaysClose) {
  const auto& [num_ranks, test_case] = GetParam();
  threads::ThreadWorld(num_ranks).run([&](Communicator& comm) { run_fast_combine(comm, test_case); });
}

/// What rank 0 says of a head that rank 1 makes up.
std::string refusal_of(const ParcelHead& head) {
  const cluster::Placement placement = cluster::Placement::even(8, 2);
  std::string message = "none";
  threads::ThreadWorld(2).run([&](Communicator& comm) {
    if (comm.rank() == Rank(1)) {
      ParcelHead theirs;
      Flight flight(comm.wires(), "a broken peer");
      flight.send(Lane::kDispatch, Rank(0), std::as_bytes(std::span(&head, 1)));
      flight.receive(Lane::kDispatch, Rank(0), std::as_writable_bytes(std::span(&theirs, 1)));
      flight.wait();
      return;
    }
    ThreadTeam team(1);
    const auto exchange = make_exchange(comm, placement, team, {.hidden = 4});
    try {
      exchange->dispatch({}, {0, 2, {}, {}}, {});
      exchange->arrive();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kPeerLost);
      message = error.what();
    }
  });
  return message;
}

TEST(ExchangeHead, ThatMakesNoSenseEndsTheExchange) {
  EXPECT_EQ(refusal_of({.layer = 1}), "none");
  EXPECT_THAT(refusal_of({.layer = 2}), HasSubstr("rank 1 (host"));
  EXPECT_THAT(refusal_of({.layer = 2}), HasSubstr("is in exchange 2, this rank in 1: out of step"));
  EXPECT_THAT(refusal_of({.layer = 1, .num_rows = 3, .num_pairs = 2, .all_rows = 3}), HasSubstr("announces 3 rows for 2 experts"));
  EXPECT_THAT(refusal_of({.layer = 1, .num_rows = 3, .num_pairs = 13, .all_rows = 3}), HasSubstr("announces 3 rows for 13 experts, 4 are held"));
  EXPECT_THAT(refusal_of({.layer = 1, .num_rows = 3, .num_pairs = 3, .all_rows = 2}), HasSubstr("announces 3 rows of 2"));
  EXPECT_THAT(refusal_of({.layer = 1, .all_rows = 2, .first_half = 3}), HasSubstr("announces 3 rows of 2"));
  EXPECT_THAT(refusal_of({.layer = 1, .all_rows = 1U << 31}), HasSubstr("announces 0 rows of 2147483648"));
  EXPECT_THAT(refusal_of({.layer = 1, .all_rows = 1, .in_block = 1}), HasSubstr("announces 1 rows in a block of 0 bytes"));
}

INSTANTIATE_TEST_SUITE_P(Ranks, ExchangeOverThreads,
                         testing::Combine(testing::Values(1, 2, 3, 4, 5, 8), testing::ValuesIn(exchange_cases())),
                         [](const auto& instance) {
                           return std::get<1>(instance.param).name + "On" + std::to_string(std::get<0>(instance.param));
                         });

}  // namespace
}  // namespace unmask::comm::test
