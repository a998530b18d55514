// SPDX-License-Identifier: Apache-2.0
#include "comm/link_probe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "comm/clock_offsets.h"
#include "comm/row_block.h"
#include "comm/threads/thread_world.h"

namespace unmask::comm {
namespace {

TEST(LinkProbe, FindsTheSameOnEveryRank) {
  std::mutex mutex;
  std::vector<LinkFacts> found;
  threads::ThreadWorld(3).run([&](Communicator& comm) {
    const LinkFacts mine = probe_links(comm);
    const std::lock_guard lock(mutex);
    found.push_back(mine);
  });
  ASSERT_EQ(found.size(), 3U);
  for (const LinkFacts& facts : found) {
    EXPECT_GT(facts.latency_seconds, 0);
    EXPECT_GT(facts.bytes_per_second, 0);
    EXPECT_EQ(facts.latency_seconds, found[0].latency_seconds);
    EXPECT_EQ(facts.bytes_per_second, found[0].bytes_per_second);
  }
}

TEST(LinkProbe, HasNothingToMeasureAlone) {
  threads::ThreadWorld(1).run([](Communicator& comm) { EXPECT_EQ(probe_links(comm).bytes_per_second, 0); });
}

TEST(ClockOffsets, AreNoneBetweenThreadsOfOneProcess) {
  threads::ThreadWorld(3).run([](Communicator& comm) {
    const auto offsets = clock_offsets(comm);
    EXPECT_EQ(offsets.size(), 3U);
    EXPECT_EQ(offsets[0], 0);
    for (const double offset : offsets) {
      EXPECT_LT(std::abs(offset), 5.0);  // half a round trip of a thread that does not get a core; a wrong sign would be hours
    }
  });
}

constexpr ExchangeOptions kOptions{.hidden = 3};

TEST(RowBlock, ComesBackAsItWasSent) {
  const std::array ids{ExpertId(1), ExpertId(6), ExpertId(0), ExpertId(7)};
  const std::array<float, 4> weights{0.1F, 0.2F, 0.3F, 0.4F};
  const std::array<float, 6> rows{1, 2, 3, 4, 5, 6};
  Bytes block(size(block_bytes(2, 2, kOptions)));
  write_block({2, 2, ids, weights}, rows, kOptions, block.data());
  ReadBlock read;
  read.read(block.data(), 2, 2, 8, Rank(1));
  EXPECT_TRUE(std::ranges::equal(read.routing().ids, ids));
  EXPECT_TRUE(std::ranges::equal(read.routing().weights, weights));
  EXPECT_EQ(read.values() - block.data(), 24);
  try {
    read.read(block.data(), 2, 2, 7, Rank(1));
    FAIL() << "expert 7 of 7 was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::kPeerLost);
    EXPECT_NE(std::string(error.what()).find("rank 1: row 1 names expert 7"), std::string::npos) << error.what();
  }
}

TEST(RowBlock, IsUsedWhereItCostsLessThanALatency) {
  ExchangeOptions options{.hidden = 1000, .link = {.latency_seconds = 1e-5, .bytes_per_second = 1e9}};  // 10 kB in a latency
  EXPECT_EQ(next_block_capacity(4, 8, options), block_bytes(4, 8, options));
  EXPECT_EQ(next_block_capacity(5, 8, options), 0);
  options.algorithm = Algorithm::kAllGather;
  EXPECT_EQ(next_block_capacity(5000, 8, options), block_bytes(5000, 8, options));
  options.algorithm = Algorithm::kDirect;
  EXPECT_EQ(next_block_capacity(1, 8, options), 0);
  EXPECT_EQ(next_block_capacity(4, 8, {.hidden = 1000}), 0) << "nothing is known of the links";
}

}  // namespace
}  // namespace unmask::comm
