// SPDX-License-Identifier: Apache-2.0
// Many random requests on the demo: the budget holds in every step, nothing is lost, all memory comes back.
// UNMASK_SOAK_REQUESTS sets how many (400).
#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <random>

#include <gtest/gtest.h>

#include "rank_job.h"

namespace unmask::testing_data {
namespace {

const std::filesystem::path kDemo = std::filesystem::path(UNMASK_SOURCE_DIR) / "models/demo";

std::int64_t num_requests() {
  const char* value = std::getenv("UNMASK_SOAK_REQUESTS");
  return value == nullptr ? 400 : std::strtoll(value, nullptr, 10);
}

runtime::Request random_request(std::mt19937& random, std::int64_t number, std::int64_t vocab) {
  const auto below = [&](std::int64_t n) { return static_cast<std::int64_t>(random() % static_cast<unsigned>(n)); };
  runtime::Request request{.number = number, .id = std::to_string(number), .prompt = {}, .options = {}};
  for (std::int64_t n = below(24); n > 0; --n) {
    request.prompt.push_back(static_cast<TokenId>(below(vocab)));
  }
  request.options.gen_length = 1 + below(24);
  request.options.block_length = 1 + below(12);
  request.options.decoder = static_cast<runtime::DecoderKind>(below(5));
  request.options.cache = static_cast<runtime::CachePolicy>(below(4));
  request.options.steps = 1 + below(12);
  request.options.threshold = 0.1 * static_cast<double>(below(10));
  request.options.temperature = below(4) == 0 ? 1 : 0;
  request.options.cfg_scale = below(8) == 0 ? 1.5 : 0;
  request.options.smoothing = below(8) == 0;
  request.priority = below(21) - 10;
  if (below(50) == 0) {
    request.prompt.push_back(static_cast<TokenId>(vocab));  // refused
  }
  return request;
}

struct Tally {
  std::int64_t submitted = 0, cancelled = 0, refused = 0;
  std::map<std::int64_t, std::vector<TokenId>> answers;
};

Tally soak(std::int64_t ranks, std::int64_t max_rows, std::uint64_t budget, std::int64_t count) {
  Tally all;
  std::mutex mutex;
  JobResult result;
  with_network(kDemo, {.num_ranks = ranks, .precision = experts::Precision::kBfloat16}, result, [&](RankParts& parts) {
    Tally mine;
    runtime::Engine engine(parts.transformer,
                           {.max_rows = max_rows, .kv_memory_bytes = budget, .eos_tokens = parts.config.eos_tokens,
                            .mask_token = parts.config.mask_token.value()},
                           {.on_answer = [&](const runtime::Request& request, runtime::Answer answer) {
                             mine.refused += answer.error ? 1 : 0;
                             EXPECT_TRUE(mine.answers.emplace(request.number, std::move(answer.tokens)).second);
                           }});
    std::mt19937 random(static_cast<unsigned>(99 + parts.comm.rank().value));
    std::vector<runtime::RequestHandle> handles;
    engine.set_intake(runtime::Intake::kOpen);
    std::int64_t next = 0;
    for (bool goes_on = true; goes_on;) {
      for (std::int64_t n = random() % 4; n > 0 && next < count; --n, ++next) {
        std::mt19937 own(static_cast<unsigned>(next));
        auto request = random_request(own, next, parts.config.vocab_size);
        if (next % ranks == parts.comm.rank().value) {
          handles.push_back(engine.submit(std::move(request)));
        }
      }
      if (!handles.empty() && random() % 16 == 0) {
        engine.cancel(handles[random() % handles.size()]);
      }
      engine.set_intake(next < count ? runtime::Intake::kOpen : runtime::Intake::kClosed);
      goes_on = engine.run_step();
      EXPECT_LE(engine.statistics().kv_bytes, budget);
    }
    const auto now = engine.statistics();
    EXPECT_EQ(now.kv_bytes, 0U);
    EXPECT_LE(now.kv_peak_bytes, budget);
    EXPECT_GT(now.kv_peak_bytes, budget / 2) << "the budget is never tight";
    EXPECT_EQ(now.waiting + now.running, 0);
    EXPECT_EQ(now.answered, std::ssize(mine.answers));
    const std::lock_guard lock(mutex);
    all.submitted += now.submitted;
    all.cancelled += now.cancelled;
    all.refused += mine.refused;
    all.answers.merge(mine.answers);
  });
  return all;
}

TEST(Soak, RandomRequestsLeaveNothingBehind) {
  const std::int64_t count = num_requests();
  const Tally two = soak(2, 200, 300 << 10, count);
  EXPECT_EQ(two.submitted, count);
  EXPECT_EQ(two.submitted, std::ssize(two.answers) + two.cancelled);
  EXPECT_GT(two.cancelled, 0);
  EXPECT_GT(two.refused, 0);
  // Others ran beside them, others were cancelled: where both have an answer, it is the same.
  const Tally one = soak(1, 77, 200 << 10, std::min<std::int64_t>(count, 400));
  std::int64_t compared = 0;
  for (const auto& [number, tokens] : one.answers) {
    if (const auto other = two.answers.find(number); other != two.answers.end()) {
      EXPECT_EQ(tokens, other->second) << "request " << number;
      ++compared;
    }
  }
  EXPECT_GT(compared, 200);
}

}  // namespace
}  // namespace unmask::testing_data
