// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "comm/point_to_point.h"
#include "tests/comm/lost_peer.h"
#include "tests/comm/mpi_test_main.h"

namespace unmask::comm::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// MPI's default handler would end the job here, before anything could be thrown.
TEST(MpiErrors, AreReturnedAndBecomeExceptions) {
  const Bytes bytes(12);
  const Rank nobody(world().num_ranks() + 5);
  EXPECT_THAT(lost_peer([&] { world().wires().start_send(Lane::kControl, nobody, bytes); }),
              AllOf(HasSubstr("MPI_Isend"), HasSubstr(format("peer rank {}", nobody)), HasSubstr("12 bytes"), HasSubstr("MPI_ERR_RANK")));
}

TEST(MpiErrors, AMessageOfAnotherSizeIsRefused) {
  const std::int64_t num_ranks = world().num_ranks();
  const Rank right((world().rank().value + 1) % num_ranks);
  const Rank left((world().rank().value + num_ranks - 1) % num_ranks);
  for (const std::size_t room_bytes : {std::size_t{4}, std::size_t{16}}) {
    const Bytes message(8);
    Bytes room(room_bytes);
    const auto receive = world().wires().start_receive(Lane::kCombine, left, room);
    const auto send = world().wires().start_send(Lane::kCombine, right, message);
    const auto error = lost_peer([&] {
      while (!receive->test()) {
      }
    });
    if (room_bytes < message.size()) {
      EXPECT_THAT(error, AllOf(HasSubstr("MPI_Test"), HasSubstr(format("rank {}", left)), HasSubstr("MPI_ERR_TRUNCATE")));
    } else {
      EXPECT_THAT(error, AllOf(HasSubstr(format("rank {}", left)), HasSubstr("expected 16 bytes, found 8")));
    }
    EXPECT_EQ(lost_peer([&] {
                while (!send->test()) {
                }
              }),
              "none");
  }
  world().barrier();
}

}  // namespace
}  // namespace unmask::comm::test
