// SPDX-License-Identifier: Apache-2.0
// The engine's requests from submit() to their end: priorities, cancels, callbacks, ranks that stay in step while idle.
#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "golden_cases.h"
#include "base/format.h"
#include "rank_job.h"
#include "runtime/kv_cache.h"
#include "runtime/waiting_line.h"

namespace unmask::testing_data {
namespace {

using runtime::Answer;
using runtime::Engine;
using runtime::Request;
using runtime::RequestHandle;

const std::filesystem::path kFolder = std::filesystem::path(UNMASK_SOURCE_DIR) / "tests/data/plain";

Request small_request(std::int64_t number, std::int64_t priority = 0) {
  return {.number = number, .id = std::to_string(number), .prompt = {1, 2, 3},
          .options = {.gen_length = 8, .block_length = 4, .stop_at_eos = false}, .priority = priority};
}

/// One rank with an engine whose events are noted.
struct Bench {
  RankParts& parts;
  std::vector<std::int64_t> first_fed;  ///< request numbers, in the order of their first steps
  std::map<std::int64_t, Answer> answers;
  std::map<std::int64_t, std::vector<TokenId>> blocks;
  std::function<void(const Request&)> in_draft, in_block, in_answer;
  Engine engine;

  explicit Bench(RankParts& rank, std::uint64_t kv_memory_bytes = std::uint64_t{1} << 40)
      : parts(rank),
        engine(rank.transformer,
               {.kv_memory_bytes = kv_memory_bytes, .eos_tokens = rank.config.eos_tokens, .mask_token = rank.config.mask_token.value()},
               {.on_draft = [this](const Request& request, const runtime::TraceStep&, std::int64_t passes) {
                  EXPECT_FALSE(answers.contains(request.number)) << "a draft after the answer";
                  if (passes == 1) {
                    first_fed.push_back(request.number);
                  }
                  call(in_draft, request);
                },
                .on_block = [this](const Request& request, std::int64_t first, std::span<const TokenId> tokens) {
                  auto& all = blocks[request.number];
                  EXPECT_EQ(first, std::ssize(all));
                  all.insert(all.end(), tokens.begin(), tokens.end());
                  call(in_block, request);
                },
                .on_answer = [this](const Request& request, Answer answer) {
                  EXPECT_TRUE(answers.emplace(request.number, std::move(answer)).second) << "answered twice";
                  call(in_answer, request);
                }}) {}

  static void call(const std::function<void(const Request&)>& function, const Request& request) {
    if (function) {
      function(request);
    }
  }
  std::set<std::int64_t> answered() const {
    std::set<std::int64_t> numbers;
    for (const auto& [number, answer] : answers) {
      numbers.insert(number);
    }
    return numbers;
  }
  void run_to_the_end() {
    while (engine.run_step()) {
    }
    const auto now = engine.statistics();
    EXPECT_EQ(now.kv_bytes, 0U);
    EXPECT_EQ(now.waiting + now.running, 0);
    EXPECT_EQ(now.submitted, now.answered + now.cancelled);
    EXPECT_EQ(now.answered, std::ssize(answers));
  }
};

void on_one_rank(const std::function<void(RankParts&)>& body) {
  JobResult result;
  with_network(kFolder, {}, result, body);
}

std::uint64_t bytes_of(const RankParts& parts, const Request& request) {
  return runtime::KvPool(parts.config, experts::Precision::kFloat32, 0).bytes_for(std::ssize(request.prompt) + request.options.gen_length);
}

Request smoothed_request(std::int64_t number, runtime::CachePolicy cache) {
  Request request = small_request(number);
  request.options.smoothing = true;
  request.options.cache = cache;
  return request;
}

TEST(Memory, OfSmoothingIsWithinTheBudget) {
  on_one_rank([](RankParts& parts) {
    const std::uint64_t keys = bytes_of(parts, small_request(0));
    const std::uint64_t smoothing = 8 * sizeof(float) * static_cast<std::uint64_t>(parts.config.hidden);  // 8 tokens of an answer
    using runtime::CachePolicy;
    Bench roomy(parts);
    Bench exact(parts, keys + smoothing);
    Bench tight(parts, keys + smoothing - 1);
    for (Bench* bench : {&roomy, &exact, &tight}) {
      for (std::int64_t number = 0; number < 3; ++number) {
        bench->engine.submit(smoothed_request(number, number == 2 ? CachePolicy::kNone : CachePolicy::kDual));
      }
      bench->run_to_the_end();
    }
    EXPECT_EQ(roomy.engine.statistics().kv_peak_bytes, 2 * keys + 3 * smoothing);
    EXPECT_EQ(exact.engine.statistics().kv_peak_bytes, keys + smoothing) << "one at a time";
    for (const auto& [number, answer] : roomy.answers) {
      EXPECT_EQ(answer.tokens, exact.answers.at(number).tokens);
    }
    ASSERT_TRUE(tight.answers.at(0).error.has_value());
    EXPECT_THAT(tight.answers.at(0).error->what(),
                testing::HasSubstr(format("keys and values of 11 positions need {} bytes, smoothing of 8 positions needs {} bytes; this rank "
                                          "has {} bytes",
                                          keys, smoothing, keys + smoothing - 1)));
    EXPECT_FALSE(tight.answers.at(2).error.has_value()) << "without keys it fits";
  });
}

TEST(Priority, OrdersAdmissionAndChangesNoAnswer) {
  on_one_rank([](RankParts& parts) {
    Bench plain(parts);
    Bench one_at_a_time(parts, bytes_of(parts, small_request(0)));
    for (const auto& [number, priority] : {std::pair{0, 0}, {1, -5}, {2, 7}, {3, 0}, {4, 7}, {5, 1000}}) {
      plain.engine.submit(small_request(number));
      one_at_a_time.engine.submit(small_request(number, priority));
    }
    plain.run_to_the_end();
    one_at_a_time.run_to_the_end();
    EXPECT_THAT(one_at_a_time.first_fed, testing::ElementsAre(5, 2, 4, 0, 3, 1));
    for (const auto& [number, answer] : plain.answers) {
      EXPECT_EQ(answer.tokens, one_at_a_time.answers.at(number).tokens);
    }
    EXPECT_LE(one_at_a_time.engine.statistics().kv_peak_bytes, bytes_of(parts, small_request(0)));
  });
}

TEST(Priority, OfOthersDelaysNobodyForEver) {
  on_one_rank([](RankParts& parts) {
    Bench bench(parts, bytes_of(parts, small_request(0)));
    bench.engine.submit(small_request(0, -3));
    // There is always one of a higher priority that waits.
    std::int64_t number = 1;
    bench.engine.submit(small_request(number, 2));
    for (int step = 0; step < 1000 && !bench.answers.contains(0); ++step) {
      if (bench.engine.statistics().waiting < 2) {
        bench.engine.submit(small_request(++number, 2));
      }
      bench.engine.run_step();
    }
    EXPECT_TRUE(bench.answers.contains(0));
    EXPECT_GT(number, 5) << "the others went first for a while";
    EXPECT_LE(bench.engine.statistics().steps, 5 * runtime::WaitingLine::kStepsPerPriority + 20);
    bench.run_to_the_end();
  });
}

TEST(Priority, OutOfRangeIsRefusedByTheNextStep) {
  on_one_rank([](RankParts& parts) {
    Bench bench(parts);
    bench.engine.submit(small_request(0, runtime::kMaxPriority + 1));
    const auto cancelled = bench.engine.submit(small_request(1, -runtime::kMaxPriority - 1));
    EXPECT_TRUE(bench.answers.empty()) << "callbacks come from run_step() alone";
    EXPECT_TRUE(bench.engine.cancel(cancelled));
    bench.run_to_the_end();
    ASSERT_THAT(bench.answered(), testing::ElementsAre(0));
    EXPECT_THAT(bench.answers.at(0).error.value().what(), testing::HasSubstr("from -1000 to 1000, found 1001"));
  });
}

TEST(Options, OutOfRangeAreRefusedByTheNextStep) {
  using Change = std::function<void(runtime::SamplingOptions&)>;
  const std::vector<std::pair<std::string, Change>> changes = {
      {"gen-length: expected a number from 1", [](auto& o) { o.gen_length = 0; }},
      {"gen-length", [](auto& o) { o.gen_length = std::numeric_limits<std::int64_t>::min(); }},
      {"block-length", [](auto& o) { o.block_length = 0; }},
      {"steps", [](auto& o) { o.steps = 0; }},
      {"look-before", [](auto& o) { o.look_before = -1; }},
      {"look-after", [](auto& o) { o.look_after = std::numeric_limits<std::int64_t>::max(); }},
      {"warmup", [](auto& o) { o.warmup = -1; }},
      {"threshold", [](auto& o) { o.threshold = -0.5; }},
      {"temperature", [](auto& o) { o.temperature = std::numeric_limits<double>::quiet_NaN(); }},
      {"cfg-scale", [](auto& o) { o.cfg_scale = std::numeric_limits<double>::infinity(); }},
  };
  on_one_rank([&](RankParts& parts) {
    Bench bench(parts);
    for (const auto& [text, change] : changes) {
      Request request = small_request(bench.engine.statistics().submitted);
      request.options.cache = runtime::CachePolicy::kVicinity;
      change(request.options);
      bench.engine.submit(std::move(request));
    }
    bench.run_to_the_end();
    for (std::size_t i = 0; i < changes.size(); ++i) {
      const auto& error = bench.answers.at(static_cast<std::int64_t>(i)).error;
      ASSERT_TRUE(error) << changes[i].first;
      EXPECT_THAT(error->what(), testing::StartsWith(changes[i].first));
    }
  });
}

TEST(Cancel, WaitingAndRunningBetweenSteps) {
  on_one_rank([](RankParts& parts) {
    const std::uint64_t one = bytes_of(parts, small_request(0));
    Bench reference(parts);
    reference.engine.submit(small_request(2));
    reference.run_to_the_end();
    Bench bench(parts, 2 * one);
    std::vector<RequestHandle> handles;
    for (int number = 0; number < 4; ++number) {
      handles.push_back(bench.engine.submit(small_request(number)));
    }
    EXPECT_TRUE(bench.engine.run_step());
    EXPECT_EQ(bench.engine.statistics().running, 2);
    EXPECT_EQ(bench.engine.statistics().waiting, 2);
    EXPECT_TRUE(bench.engine.cancel(handles[0]));  // runs
    EXPECT_EQ(bench.engine.statistics().kv_bytes, one) << "free at once";
    EXPECT_TRUE(bench.engine.cancel(handles[3]));  // waits
    EXPECT_FALSE(bench.engine.cancel(handles[0]));
    EXPECT_FALSE(bench.engine.cancel(RequestHandle(1000)));
    bench.run_to_the_end();
    EXPECT_THAT(bench.answered(), testing::ElementsAre(1, 2));
    EXPECT_FALSE(bench.engine.cancel(handles[1])) << "answered";
    EXPECT_EQ(bench.answers.at(2).tokens, reference.answers.at(2).tokens);
    EXPECT_EQ(bench.engine.statistics().cancelled, 2);
  });
}

/// From each callback, of oneself and of another one that is fed by the same step.
TEST(Cancel, FromCallbacks) {
  on_one_rank([](RankParts& parts) {
    for (const int event : {0, 1, 2}) {
      for (const int victim : {0, 1, 2, 3}) {
        Bench bench(parts, 3 * bytes_of(parts, small_request(0)));
        std::map<std::int64_t, RequestHandle> handles;
        bool done = false, was_running = false;
        const auto cancel = [&](const Request& request) {
          if (request.number == 1 && !done) {
            done = true;
            was_running = bench.engine.cancel(handles.at(victim));
            EXPECT_FALSE(bench.engine.cancel(handles.at(victim)));
          }
          EXPECT_FALSE(done && was_running && request.number == victim && request.number != 1) << "heard of after cancel()";
        };
        (event == 0 ? bench.in_draft : event == 1 ? bench.in_block : bench.in_answer) = cancel;
        for (int number = 0; number < 4; ++number) {
          handles[number] = bench.engine.submit(small_request(number));
        }
        bench.run_to_the_end();
        EXPECT_TRUE(done);
        // All run alike, so that an answer is there for 0 and 1 when 1 is told its own.
        EXPECT_EQ(was_running, event != 2 || victim > 1) << "event " << event << ", victim " << victim;
        EXPECT_EQ(bench.answers.contains(victim), !was_running);
        EXPECT_EQ(std::ssize(bench.answers), was_running ? 3 : 4);
      }
    }
  });
}

TEST(Callbacks, TellBlocksOnceAndInOrder) {
  on_one_rank([](RankParts& parts) {
    Bench bench(parts);
    std::int64_t number = 0;
    for (const auto& c : read_decode_cases(kFolder / "decode.json")) {
      bench.engine.submit(c.request);
      ++number;
    }
    bench.run_to_the_end();
    ASSERT_EQ(std::ssize(bench.answers), number);
    bool some_ended_early = false;
    for (const auto& [n, answer] : bench.answers) {
      const auto& told = bench.blocks.at(n);
      ASSERT_LE(told.size(), answer.tokens.size());
      EXPECT_TRUE(std::equal(told.begin(), told.end(), answer.tokens.begin()));
      EXPECT_GE(std::ssize(told), answer.text_tokens);
      some_ended_early = some_ended_early || told.size() < answer.tokens.size();
    }
    EXPECT_TRUE(some_ended_early);
  });
}

TEST(Callbacks, MaySubmit) {
  on_one_rank([](RankParts& parts) {
    Bench bench(parts);
    bench.in_answer = [&](const Request& request) {
      if (request.number < 5) {  // 1, 3, 5 are refused, and followed up in the step that tells so
        bench.engine.submit(small_request(request.number + 1, request.number % 2 == 0 ? 5000 : 0));
      }
    };
    bench.engine.submit(small_request(0));
    bench.run_to_the_end();
    EXPECT_EQ(bench.answers.size(), 6U);
    EXPECT_TRUE(bench.answers.at(5).error);
    EXPECT_FALSE(bench.answers.at(4).error);
  });
}

TEST(Storm, LosesNobody) {
  on_one_rank([](RankParts& parts) {
    Bench bench(parts, 40 * bytes_of(parts, small_request(0)));
    for (std::int64_t number = 0; number < 20000; ++number) {
      const auto handle = bench.engine.submit(small_request(number, number % 7));
      if (number % 100 != 0) {
        EXPECT_TRUE(bench.engine.cancel(handle));
      }
      if (number % 1000 == 0) {
        bench.engine.run_step();
      }
    }
    bench.run_to_the_end();
    EXPECT_EQ(bench.answers.size(), 200U);
    EXPECT_EQ(bench.engine.statistics().cancelled, 19800);
    EXPECT_LE(bench.engine.statistics().kv_peak_bytes, 40 * bytes_of(parts, small_request(0)));
  });
}

TEST(EmptyPrompt, IsLegalWithEveryPolicy) {
  on_one_rank([](RankParts& parts) {
    Bench bench(parts);
    using runtime::CachePolicy;
    std::int64_t number = 0;
    for (const auto cache : {CachePolicy::kNone, CachePolicy::kPrefix, CachePolicy::kDual, CachePolicy::kVicinity}) {
      Request request = small_request(number++);
      request.prompt.clear();
      request.options.cache = cache;
      bench.engine.submit(request);
    }
    bench.run_to_the_end();
    ASSERT_EQ(bench.answers.size(), 4U);
    for (const auto& [n, answer] : bench.answers) {
      EXPECT_FALSE(answer.error);
      EXPECT_EQ(answer.tokens.size(), 8U);
    }
  });
}

/// Rank 0 alone is open; requests come late, in pauses, and only to the last rank.
TEST(Intake, KeepsIdleRanksInStep) {
  for (const std::int64_t ranks : {1, 2, 4}) {
    JobResult result;
    std::mutex mutex;
    std::vector<std::vector<bool>> idle;  // by rank: was_idle() after each step
    with_network(kFolder, {.num_ranks = ranks}, result, [&](RankParts& parts) {
      Bench bench(parts);
      if (parts.comm.is_root()) {
        bench.engine.set_intake(runtime::Intake::kOpen);
      }
      std::vector<bool> mine;
      bool goes_on = true;
      for (std::int64_t step = 0; goes_on; ++step) {
        if ((step == 5 || step == 100) && parts.comm.rank().value == ranks - 1) {
          bench.engine.submit(small_request(step));
        }
        if (step == 150 && parts.comm.is_root()) {
          bench.engine.set_intake(runtime::Intake::kClosed);
        }
        goes_on = bench.engine.run_step();
        mine.push_back(bench.engine.was_idle());
      }
      bench.run_to_the_end();  // may be called again
      EXPECT_EQ(bench.answers.size(), parts.comm.rank().value == ranks - 1 ? 2U : 0U);
      const std::lock_guard lock(mutex);
      idle.push_back(mine);
    });
    ASSERT_EQ(std::ssize(idle), ranks);
    for (const auto& mine : idle) {
      EXPECT_EQ(mine, idle.front()) << "all ranks see the same";
      EXPECT_EQ(mine.size(), 151U);
      EXPECT_TRUE(mine[0] && mine[4] && mine[50] && mine[99]);
      EXPECT_FALSE(mine[5] || mine[100]);
    }
  }
}

TEST(Stop, OfOneRankIsSeenByAllInTheSameStep) {
  JobResult result;
  with_network(kFolder, {.num_ranks = 3}, result, [&](RankParts& parts) {
    Bench bench(parts);
    const auto handle = bench.engine.submit(small_request(parts.comm.rank().value));
    EXPECT_TRUE(bench.engine.run_step());
    EXPECT_FALSE(bench.engine.stop_was_voted());
    if (parts.comm.rank() == Rank(1)) {
      bench.engine.vote_to_stop();
    }
    EXPECT_TRUE(bench.engine.run_step());
    EXPECT_TRUE(bench.engine.stop_was_voted());
    EXPECT_TRUE(bench.engine.cancel(handle));
    EXPECT_FALSE(bench.engine.run_step());
    bench.run_to_the_end();
  });
}

}  // namespace
}  // namespace unmask::testing_data
