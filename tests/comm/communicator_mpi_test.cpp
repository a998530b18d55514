// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/comm/communicator_cases.h"
#include "tests/comm/mpi_test_main.h"

namespace unmask::comm::test {
namespace {

constexpr std::size_t kSeveralPieces = (std::size_t{1} << 26) + 12345;  // MPI messages are cut at 64 MiB
constexpr std::size_t kOnePiece = 3 << 20;

/// Large blobs only where few ranks share the machine's memory.
std::size_t large_bytes() { return world().num_ranks() <= 3 ? kSeveralPieces : kOnePiece; }

TEST(CommunicatorOverMpi, KnowsWhoTakesPart) { check_identity(world()); }
TEST(CommunicatorOverMpi, AllGathers) { check_all_gather(world(), large_bytes()); }
TEST(CommunicatorOverMpi, Broadcasts) { check_broadcast(world(), large_bytes()); }
TEST(CommunicatorOverMpi, BarrierHoldsEveryoneBack) { check_barrier_holds_everyone_back(world()); }
TEST(CommunicatorOverMpi, PostsArriveInOrderPerSender) { check_posts(world(), 3000); }
TEST(CommunicatorOverMpi, HandshakeNamesTheOddRank) { check_require_same(world()); }
TEST(CommunicatorOverMpi, AgreesOnTheFirstError) { check_agree(world()); }

}  // namespace
}  // namespace unmask::comm::test
