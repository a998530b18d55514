// SPDX-License-Identifier: Apache-2.0
#include "cluster/guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "base/clock.h"

namespace unmask::cluster {
namespace {

using namespace std::chrono_literals;

/// How a process ends that makes a guard and then does `body`: its exit code, or 128 + signal.
int end_of(const std::function<void(Guard&)>& body, const Guard::Limits& limits = {.silent = 0.5s}) {
  const pid_t child = ::fork();
  if (child == 0) {
    {
      Guard guard(limits);
      guard.record(0).introduce(3, "here");
      body(guard);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

TEST(Guard, TakesLeaveWithItsRank) {
  const Stopwatch clock;
  EXPECT_EQ(end_of([](Guard&) {}), 0);
  EXPECT_LT(clock.seconds(), 0.4) << "it is not waited for";
}

TEST(Guard, EndsARankWithoutProgress) {
  EXPECT_EQ(end_of([](Guard& guard) {
              guard.record(0).beat();
              std::this_thread::sleep_for(20s);
            }),
            4);
}

TEST(Guard, EndsARankThatHangsBeforeItsFirstBeat) {
  EXPECT_EQ(end_of([](Guard&) { std::this_thread::sleep_for(20s); }), 4);
}

TEST(Guard, TakesLoadingForProgressBeforeTheFirstBeat) {
  EXPECT_EQ(end_of([](Guard&) {
              std::vector<std::vector<char>> loaded;
              for (int i = 0; i < 30; ++i) {
                std::this_thread::sleep_for(50ms);
                loaded.emplace_back(1 << 20, 'x');
              }
            }),
            0);
}

TEST(Guard, EndsAStoppedRank) {
  EXPECT_EQ(end_of([](Guard&) { ::raise(SIGSTOP); }), 4);
  EXPECT_EQ(end_of([](Guard&) { ::raise(SIGSTOP); }, {.silent = 20s, .stopped = 0.5s}), 4);
}

TEST(Guard, KillsARankThatCannotAnswer) {
  EXPECT_EQ(end_of([](Guard& guard) {
              guard.state().store(static_cast<int>(GuardState::kFails));
              std::this_thread::sleep_for(20s);
            }),
            128 + SIGKILL);
}

TEST(Guard, LetsARankWorkThatShowsProgress) {
  EXPECT_EQ(end_of([](Guard& guard) {
              for (int i = 0; i < 30; ++i) {
                std::this_thread::sleep_for(50ms);
                guard.record(0).beat();
              }
            }),
            0);
}

TEST(Guard, WithoutALimitWaitsOn) {
  EXPECT_EQ(end_of([](Guard&) { std::this_thread::sleep_for(1200ms); }, {}), 0);
}

TEST(Guard, TakesTheRankWithItWhenItDies) {
  EXPECT_EQ(end_of([](Guard& guard) {
              ::kill(guard.process(), SIGKILL);
              std::this_thread::sleep_for(20s);
            }),
            4);
}

TEST(RankRecord, RemembersTheLastOperations) {
  RankRecord record{};
  EXPECT_EQ(who(record), "rank ?");
  record.introduce(2, "a-host");
  for (int i = 0; i < 300; ++i) {
    const auto number = record.begin(i % 2 == 0, "dispatch", i, 10 * i);
    if (i != 298) {
      record.end(number);
    }
  }
  record.end(3);  // long forgotten: must not touch the one that has its place
  const std::string last = last_operations(record, 2);
  EXPECT_THAT(last, testing::HasSubstr("send to rank 298, lane dispatch, 2980 bytes, open for"));
  EXPECT_THAT(last, testing::HasSubstr("receive from rank 299, lane dispatch, 2990 bytes, done after"));
  EXPECT_EQ(std::ranges::count(last_operations(record, 1000), '\n'), 256);
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(std::filesystem::temp_directory_path());
  EXPECT_THAT(write_log(record), testing::HasSubstr("unmask-rank-2.log"));
  EXPECT_TRUE(std::filesystem::remove("unmask-rank-2.log"));
  std::filesystem::current_path(before);
}

}  // namespace
}  // namespace unmask::cluster
