// SPDX-License-Identifier: Apache-2.0
// The golden cases as requests that come and go: any number at a time, in any order, at random moments, with any priority,
// among others that are cancelled. UNMASK_LONG_TESTS=1 runs every number at a time on every rank count.
#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <random>
#include <utility>

#include <gtest/gtest.h>

#include "golden_cases.h"
#include "golden_compare.h"
#include "rank_job.h"

namespace unmask::testing_data {
namespace {

const std::filesystem::path kData = std::filesystem::path(UNMASK_SOURCE_DIR) / "tests/data";

constexpr std::int64_t kAll = 1000;       ///< more than there are cases
constexpr std::int64_t kDecoys = 100000;  ///< numbers from here on belong to requests that may be cancelled

/// What one rank does: its cases at most `at_a_time`, and now and then a copy of one that is cancelled some steps later.
class Traffic {
 public:
  Traffic(RankParts& parts, const std::vector<DecodeCase>& cases, std::vector<std::size_t> mine, std::int64_t at_a_time, unsigned seed)
      : cases_(cases), todo_(std::move(mine)), at_a_time_(at_a_time), random_(seed),
        engine_(parts.transformer,
                {.max_rows = 150, .kv_memory_bytes = std::uint64_t{1} << 30, .eos_tokens = parts.config.eos_tokens,
                 .mask_token = parts.config.mask_token.value(), .keep_trace = true},
                {.on_answer = [this](const runtime::Request& request, const runtime::Answer& answer) { take(request, answer); }}) {}

  void run() {
    bool goes_on = true;
    while (goes_on) {
      submit_some();
      cancel_some();
      engine_.set_intake(todo_.empty() ? runtime::Intake::kClosed : runtime::Intake::kOpen);
      goes_on = engine_.run_step();
    }
    const auto now = engine_.statistics();
    EXPECT_EQ(now.kv_bytes, 0U);
    EXPECT_EQ(now.submitted, now.answered + now.cancelled);
    EXPECT_EQ(in_flight_, 0);
  }
  std::int64_t num_cancelled() const { return engine_.statistics().cancelled; }
  std::int64_t num_exact() const { return num_answered_; }

 private:
  bool chance(unsigned percent) { return random_() % 100 < percent; }

  runtime::RequestHandle submit(std::size_t i, std::int64_t first_number) {
    runtime::Request request = cases_[i].request;
    request.number += first_number;
    request.priority = static_cast<std::int64_t>(random_() % 9) - 4;
    return engine_.submit(std::move(request));
  }

  void submit_some() {
    while (!todo_.empty() && in_flight_ < at_a_time_ && (in_flight_ == 0 || chance(70))) {
      submit(todo_.back(), 0);
      todo_.pop_back();
      ++in_flight_;
    }
    if (!todo_.empty() && chance(20)) {
      decoys_.push_back(submit(random_() % cases_.size(), kDecoys));
    }
  }

  void cancel_some() {
    if (!decoys_.empty() && (todo_.empty() || chance(25))) {
      std::swap(decoys_[random_() % decoys_.size()], decoys_.back());
      engine_.cancel(decoys_.back());  // which may have been answered
      decoys_.pop_back();
    }
  }

  void take(const runtime::Request& request, const runtime::Answer& answer) {
    const bool is_decoy = request.number >= kDecoys;
    expect_case(cases_[size(request.number % kDecoys)], answer);
    in_flight_ -= is_decoy ? 0 : 1;
    num_answered_ += is_decoy ? 0 : 1;
  }

  const std::vector<DecodeCase>& cases_;
  std::vector<std::size_t> todo_;
  std::int64_t at_a_time_;
  std::mt19937 random_;
  runtime::Engine engine_;
  std::int64_t in_flight_ = 0, num_answered_ = 0;
  std::vector<runtime::RequestHandle> decoys_;
};

void run_traffic(const std::string& name, std::int64_t ranks, std::int64_t at_a_time) {
  const auto cases = read_decode_cases(kData / name / "decode.json");
  std::mt19937 random(static_cast<unsigned>(1000 * ranks + at_a_time));
  std::vector<std::vector<std::size_t>> share(size(ranks));
  for (std::size_t i = 0; i < cases.size(); ++i) {
    share[random() % share.size()].push_back(i);
  }
  for (auto& mine : share) {
    std::shuffle(mine.begin(), mine.end(), random);
  }
  JobResult result;
  std::mutex mutex;
  std::int64_t cancelled = 0, exact = 0;
  with_network(kData / name, {.num_ranks = ranks}, result, [&](RankParts& parts) {
    const Rank rank = parts.comm.rank();
    Traffic traffic(parts, cases, share[rank.at()], at_a_time, static_cast<unsigned>(rank.value + 7));
    traffic.run();
    const std::lock_guard lock(mutex);
    cancelled += traffic.num_cancelled();
    exact += traffic.num_exact();
  });
  EXPECT_EQ(exact, std::ssize(cases));
  EXPECT_GT(cancelled, 0);
}

bool is_long() {
  const char* value = std::getenv("UNMASK_LONG_TESTS");
  return value != nullptr && *value == '1';
}

class GoldenTraffic : public testing::TestWithParam<std::string> {};

TEST_P(GoldenTraffic, AnswersAreExactAmongAnyOthers) {
  std::vector<std::pair<std::int64_t, std::int64_t>> layouts = {{1, 1}, {2, 2}, {3, 7}, {4, kAll}};  // ranks, at a time
  if (is_long()) {
    layouts.clear();
    for (const std::int64_t ranks : {1, 2, 3, 4}) {
      for (const std::int64_t at_a_time : {std::int64_t{1}, std::int64_t{2}, std::int64_t{7}, kAll}) {
        layouts.emplace_back(ranks, at_a_time);
      }
    }
  }
  for (const auto& [ranks, at_a_time] : layouts) {
    SCOPED_TRACE(format("{} ranks, {} at a time", ranks, at_a_time));
    run_traffic(GetParam(), ranks, at_a_time);
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, GoldenTraffic, testing::Values("plain", "uneven", "wide"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace unmask::testing_data
