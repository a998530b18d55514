// SPDX-License-Identifier: Apache-2.0
// The scheduler of one rank: rows per step, turns, memory; that none of it changes an answer is layout_test's.
#include <algorithm>
#include <map>
#include <utility>

#include <gtest/gtest.h>

#include "golden_cases.h"
#include "rank_job.h"

namespace unmask::testing_data {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(UNMASK_SOURCE_DIR) / "tests/data/plain";

std::int64_t sides_of(const runtime::Request& request) { return request.options.cfg_scale > 0 ? 2 : 1; }

std::int64_t full_rows(const runtime::Request& request) {
  return sides_of(request) * (static_cast<std::int64_t>(request.prompt.size()) + request.options.gen_length);
}

/// What happened in one call of run_step().
struct StepRecord {
  std::int64_t rows = 0;
  std::vector<std::int64_t> fed;  ///< request numbers
  std::int64_t full = 0;          ///< sequences fed as a whole
  std::uint64_t kv_bytes = 0;     ///< after the step
};

std::vector<StepRecord> run_and_record(const std::vector<runtime::Request>& requests, const JobOptions& options) {
  std::vector<StepRecord> steps;
  JobResult result;
  with_network(kFolder, options, result, [&](RankParts& parts) {
    runtime::Engine engine(
        parts.transformer,
        {.max_rows = options.max_rows, .kv_memory_bytes = options.kv_memory_bytes, .eos_tokens = parts.config.eos_tokens,
         .mask_token = parts.config.mask_token.value(), .stops_at_text = {}},
        {.on_draft = [&](const runtime::Request& request, const runtime::TraceStep& step, std::int64_t) {
           const std::int64_t rows = sides_of(request) * (step.window_end - step.window_begin);
           steps.back().rows += rows;
           steps.back().fed.push_back(request.number);
           steps.back().full += rows == full_rows(request) ? 1 : 0;
         },
         .on_answer = [](const runtime::Request&, const runtime::Answer& answer) { EXPECT_FALSE(answer.error); }});
    for (const auto& request : requests) {
      engine.submit(request);
    }
    do {
      steps.emplace_back();
      if (const bool works = engine.run_step(); !works) {
        break;
      }
      steps.back().kv_bytes = engine.statistics().kv_bytes;
    } while (true);
    EXPECT_EQ(engine.statistics().kv_bytes, 0U);
    EXPECT_TRUE(steps.back().fed.empty()) << "the last step finds that nobody has work";
    steps.pop_back();
    EXPECT_EQ(engine.statistics().steps, static_cast<std::int64_t>(steps.size()));
  });
  return steps;
}

std::vector<runtime::Request> requests_with_every_policy() {
  std::vector<runtime::Request> requests;
  for (const auto& c : read_decode_cases(kFolder / "decode.json")) {
    requests.push_back(c.request);
    requests.back().options.stop_at_eos = false;
  }
  return requests;
}

class EngineTest : public testing::TestWithParam<std::int64_t> {};

TEST_P(EngineTest, StepsKeepToTheRowsAndEverybodyHasTurns) {
  const std::int64_t max_rows = GetParam();
  const auto requests = requests_with_every_policy();
  std::int64_t longest = 0;
  for (const auto& request : requests) {
    longest = std::max(longest, full_rows(request));
  }
  const auto steps = run_and_record(requests, {.max_rows = max_rows});
  std::map<std::int64_t, std::size_t> first, last;
  for (std::size_t s = 0; s < steps.size(); ++s) {
    EXPECT_LE(steps[s].rows, std::max(max_rows, longest));
    EXPECT_TRUE(steps[s].rows <= max_rows || steps[s].fed.size() == 1) << "a longer sequence is alone in its step";
    for (const std::int64_t number : steps[s].fed) {
      first.try_emplace(number, s);
      last[number] = s;
    }
  }
  ASSERT_EQ(last.size(), requests.size());
  // Once it had its first step, a sequence waits at most until each of the others running beside it was fed once.
  std::map<std::int64_t, std::size_t> before;
  for (std::size_t s = 0; s < steps.size(); ++s) {
    const auto running = static_cast<std::size_t>(
        std::count_if(first.begin(), first.end(), [&](const auto& f) { return f.second <= s && last[f.first] >= s; }));
    for (const std::int64_t number : steps[s].fed) {
      if (before.contains(number)) {
        EXPECT_LE(s - before[number], running + 1) << "request " << number << " in step " << s;
      }
      before[number] = s;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, EngineTest, testing::Values(1, 40, 70, 150, 4096));

TEST(EngineMixes, FullPassesWithWindows) {
  const auto steps = run_and_record(requests_with_every_policy(), {.max_rows = 150});
  const auto is_mixed = [](const StepRecord& step) { return step.full > 0 && std::cmp_less(step.full, step.fed.size()); };
  EXPECT_GT(std::count_if(steps.begin(), steps.end(), is_mixed), static_cast<std::ptrdiff_t>(steps.size() / 4));
}

TEST(SpreadOverRanks, ByRowsToCome) {
  runtime::Request small{.number = 0, .id = "", .prompt = {}, .options = {.gen_length = 32}};
  runtime::Request large = small;
  large.prompt.resize(1000);
  large.options.cache = runtime::CachePolicy::kNone;
  const auto ranks = [](const std::vector<runtime::Request>& requests, std::int64_t num_ranks) {
    return runtime::spread_over_ranks(requests, num_ranks);
  };
  EXPECT_EQ(ranks({small, small, small, small, small}, 3), (std::vector{Rank(0), Rank(1), Rank(2), Rank(0), Rank(1)}));
  EXPECT_EQ(ranks({large, small, small, small, large}, 2), (std::vector{Rank(0), Rank(1), Rank(1), Rank(1), Rank(1)}));
  EXPECT_TRUE(ranks({}, 2).empty());
}

}  // namespace
}  // namespace unmask::testing_data
