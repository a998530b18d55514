// SPDX-License-Identifier: Apache-2.0
#include "comm/chunks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "comm/message_plan.h"
#include "comm/return_plan.h"

namespace unmask::comm {
namespace {

std::vector<std::pair<std::int64_t, std::int64_t>> ranges(std::vector<std::int64_t> bytes, std::int64_t least) {
  std::vector<std::pair<std::int64_t, std::int64_t>> found;
  std::int64_t total = 0;
  for (const Cut& cut : cut_into_messages(bytes, least)) {
    found.emplace_back(cut.begin, cut.end);
    total += cut.bytes;
  }
  EXPECT_EQ(total, std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0}));
  return found;
}

using Ranges = std::vector<std::pair<std::int64_t, std::int64_t>>;

TEST(Cut, JoinsChunksUntilAMessagePays) {
  EXPECT_EQ(ranges({10, 10, 10}, 1), (Ranges{{0, 1}, {1, 2}, {2, 3}}));
  EXPECT_EQ(ranges({10, 10, 10}, 15), (Ranges{{0, 3}}));  // what is left over is too little for a message
  EXPECT_EQ(ranges({10, 10, 10, 10}, 15), (Ranges{{0, 2}, {2, 4}}));
  EXPECT_EQ(ranges({10, 10, 10}, 1000), (Ranges{{0, 3}}));
  EXPECT_EQ(ranges({0, 10, 0}, 1), (Ranges{{0, 3}}));
  EXPECT_EQ(ranges({0, 0}, 0), Ranges{});
  EXPECT_EQ(ranges({0, 7, 0, 7}, 0), (Ranges{{0, 2}, {2, 4}}));
}

TEST(ChunkGrid, DividesEachRanksExperts) {
  const auto placement = cluster::Placement::even(64, 3);
  const ChunkGrid grid(placement, 16);
  EXPECT_EQ(grid.num_chunks(), 16);
  for (Rank rank(0); rank.value < 3; ++rank) {
    const auto held = std::ssize(placement.held_by(rank));
    EXPECT_EQ(grid.experts_before(rank, 0), 0);
    EXPECT_EQ(grid.experts_before(rank, 16), held);
    for (std::int64_t expert = 0; expert < held; ++expert) {
      const auto chunk = grid.chunk_of(rank, expert);
      EXPECT_LE(grid.experts_before(rank, chunk), expert);
      EXPECT_GT(grid.experts_before(rank, chunk + 1), expert);
    }
  }
  EXPECT_EQ(ChunkGrid(cluster::Placement::even(3, 8), 16).num_chunks(), 1);
}

/// What one rank sends on a lane must be what the other one receives, message by message.
TEST(MessagePlan, BothEndsDeriveTheSameMessagesInTheSameOrder) {
  std::mt19937 random(5);
  constexpr std::int64_t kRanks = 5, kChunks = 7;
  for (int round = 0; round < 50; ++round) {
    std::vector<std::vector<Cut>> cuts(kRanks * kRanks);  // [from, to]
    for (auto& one : cuts) {
      std::vector<std::int64_t> bytes(kChunks);
      std::generate(bytes.begin(), bytes.end(), [&] { return random() % 3 == 0 ? 0 : static_cast<std::int64_t>(random() % 100); });
      one = cut_into_messages(bytes, 60);
    }
    for (const auto due : {MessagePlan::Due::kFirst, MessagePlan::Due::kLast}) {
      const auto plan = [&](Rank me, bool sends) {
        MessagePlan p;
        p.begin(due);
        for (Rank peer(0); peer.value < kRanks; ++peer) {
          p.add(peer, cuts[sends ? me.at() * kRanks + peer.at() : peer.at() * kRanks + me.at()]);
        }
        p.order(me, kRanks);
        return p;
      };
      for (Rank a(0); a.value < kRanks; ++a) {
        const MessagePlan sends = plan(a, true);
        for (Rank b(0); b.value < kRanks; ++b) {
          const MessagePlan receives = plan(b, false);
          std::vector<std::int64_t> out, in;
          for (const auto& m : sends.all()) {
            m.peer == b ? out.insert(out.end(), {m.cut.begin, m.cut.end, m.cut.bytes, m.offset}) : out.end();
          }
          for (const auto& m : receives.all()) {
            m.peer == a ? in.insert(in.end(), {m.cut.begin, m.cut.end, m.cut.bytes, m.offset}) : in.end();
          }
          EXPECT_EQ(out, in);
        }
      }
    }
  }
}

TEST(MessagePlan, IssuesEachMessageOnceWhenItIsDue) {
  MessagePlan plan;
  plan.begin(MessagePlan::Due::kLast);
  plan.add(Rank(1), std::vector<Cut>{{0, 2, 8}, {2, 4, 8}});
  plan.add(Rank(0), std::vector<Cut>{{0, 1, 8}, {1, 4, 8}});
  plan.order(Rank(2), 3);
  EXPECT_EQ(plan.issue_before(1).size(), 1U);
  EXPECT_EQ(plan.issue_before(1).size(), 0U);
  EXPECT_EQ(plan.issue_before(3).size(), 1U);
  const auto last = plan.issue_before(4);
  ASSERT_EQ(last.size(), 2U);
  EXPECT_EQ(last[0].peer, Rank(0));  // the next rank first
}

}  // namespace
}  // namespace unmask::comm
