// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <deque>

#include "launcher/batch/hand_out.h"

namespace unmask::launcher {
namespace {

runtime::Request request(std::int64_t number, std::int64_t length, std::int64_t block = 16) {
  runtime::Request out;
  out.number = number;
  out.prompt.assign(8, 1);
  out.options.gen_length = length;
  out.options.block_length = block;
  return out;
}

/// A byte a position.
std::uint64_t positions(const runtime::Request& request) { return request.prompt.size() + static_cast<std::uint64_t>(request.options.gen_length); }

TEST(HandOut, TheRankWithTheLeastToDoIsNextAndRoomIsKept) {
  HandOut out({{.rows = 64, .bytes = 1000}, {.rows = 64, .bytes = 1000}}, positions);
  EXPECT_EQ(out.place(request(0, 64)), Rank(0));
  EXPECT_EQ(out.place(request(1, 16)), Rank(1));
  EXPECT_EQ(out.place(request(2, 16)), Rank(1)) << "rank 0 has more to come";
  std::int64_t number = 3;
  while (out.place(request(number, 16))) {
    ++number;
  }
  EXPECT_EQ(number, 8) << "64 rows and an eighth more hold four windows of 16 on each of two ranks";
  out.remove(1);
  EXPECT_EQ(out.place(request(number, 16)), Rank(1)) << "what was answered makes room";
  EXPECT_EQ(out.num_out(), 8);
}

TEST(HandOut, AnIdleRankTakesWhatFitsNowhere) {
  HandOut out({{.rows = 8, .bytes = 10}}, positions);
  EXPECT_EQ(out.place(request(0, 500)), Rank(0));
  EXPECT_FALSE(out.place(request(1, 1, 1)).has_value());
  out.remove(0);
  EXPECT_EQ(out.place(request(1, 500)), Rank(0));
}

TEST(HandOut, MemoryBoundsARankAsRowsDo) {
  HandOut out({{.rows = 1000, .bytes = 100}, {.rows = 1000, .bytes = 1000}}, positions);
  std::int64_t on_first = 0;
  std::int64_t number = 0;
  for (; const auto rank = out.place(request(number, 32)); ++number) {
    on_first += *rank == Rank(0) ? 1 : 0;
  }
  EXPECT_EQ(on_first, 2) << "40 positions each, 112 of them";
  EXPECT_EQ(number, 2 + 28);
}

TEST(HandOut, UnevenLengthsRunDryTogether) {
  // Each rank answers its oldest request whenever it has fed the rows that were predicted; nobody may be without work while
  // there are requests left.
  HandOut out({{.rows = 64, .bytes = 100000}, {.rows = 64, .bytes = 100000}, {.rows = 64, .bytes = 100000}}, positions);
  std::vector<std::deque<std::pair<std::int64_t, double>>> queues(3);
  std::int64_t next = 0;
  const auto length = [](std::int64_t i) { return i % 10 == 0 ? 160 : 16 * (1 + i % 3); };
  for (int step = 0; step < 100000 && (next < 600 || out.num_out() > 0); ++step) {
    while (next < 600) {
      const auto one = request(next, length(next));
      const auto rank = out.place(one);
      if (!rank) {
        break;
      }
      queues[rank->at()].emplace_back(next++, runtime::predicted_rows(one));
    }
    for (auto& queue : queues) {
      EXPECT_TRUE(!queue.empty() || next == 600) << "idle with work left, at request " << next;
      double rows = 200;
      while (rows > 0 && !queue.empty()) {
        const double part = std::min(rows, queue.front().second);
        queue.front().second -= part;
        rows -= part;
        if (queue.front().second <= 0) {
          out.remove(queue.front().first);
          queue.pop_front();
        }
      }
    }
  }
  EXPECT_EQ(next, 600);
  EXPECT_EQ(out.num_out(), 0);
}

}  // namespace
}  // namespace unmask::launcher
