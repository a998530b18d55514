// SPDX-License-Identifier: Apache-2.0
// The golden checkpoints: logits, router counts and every decode case, against the PyTorch oracle.
#include <algorithm>
#include <cmath>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "golden_cases.h"
#include "golden_compare.h"
#include "rank_job.h"

namespace unmask::testing_data {
namespace {

const std::filesystem::path kData = std::filesystem::path(UNMASK_SOURCE_DIR) / "tests/data";
const std::filesystem::path kDemo = std::filesystem::path(UNMASK_SOURCE_DIR) / "models/demo";

struct Layout {
  std::string folder;
  std::int64_t ranks;
  int threads;
  std::string kernel = "auto";
};

class GoldenTest : public testing::TestWithParam<Layout> {
 protected:
  void SetUp() override {
    for (const auto* family : experts::kernel_families()) {
      if (family->name == GetParam().kernel && !family->supported()) {
        GTEST_SKIP() << family->name << " needs " << family->needs;
      }
    }
  }
  JobOptions options() const {
    return {.num_ranks = GetParam().ranks, .num_threads = GetParam().threads, .kernel = GetParam().kernel};
  }
};

TEST_P(GoldenTest, LogitsAndRouterCounts) {
  const auto cases = read_logits_cases(kData / GetParam().folder / "logits.safetensors");
  ASSERT_EQ(cases.size(), 3U);
  JobResult result;
  // Every rank runs the cases in turn, so that the experts see rows of several ranks and lengths at once.
  with_network(kData / GetParam().folder, options(), result, [&](RankParts& parts) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      const auto& c = cases[(i + parts.comm.rank().at()) % cases.size()];
      runtime::StepBatch batch;
      batch.add(c.tokens);
      for (std::int32_t r = 0; r < batch.num_rows(); ++r) {
        batch.wanted.push_back(TokenRow(r));
      }
      parts.transformer.forward(batch, comm::Vote::kWork);
      const auto logits = parts.transformer.logits(0, batch.num_rows());
      EXPECT_EQ(logits.size(), c.logits.size());
      float largest = 0, difference = 0;
      for (std::size_t k = 0; k < std::min(logits.size(), c.logits.size()); ++k) {
        largest = std::max(largest, std::abs(c.logits[k]));
        difference = std::max(difference, std::abs(c.logits[k] - logits[k]));
      }
      EXPECT_LE(difference, 1e-5F * largest);  // asked for is 1e-4
      EXPECT_THAT(parts.transformer.router_counts(), testing::ElementsAreArray(c.router_counts));
    }
  });
}

/// Runs all cases of a folder in one job and compares tokens, passes, rows and every step.
void expect_decodes(const std::filesystem::path& model, const std::filesystem::path& expectations, const JobOptions& options,
                    std::size_t at_least) {
  const std::vector<DecodeCase> cases = read_decode_cases(expectations);
  ASSERT_GE(cases.size(), at_least);
  std::vector<runtime::Request> requests;
  std::transform(cases.begin(), cases.end(), std::back_inserter(requests), [](const auto& c) { return c.request; });
  const JobResult result = run_job(model, options, requests);
  ASSERT_EQ(result.answers.size(), cases.size());
  for (const auto& c : cases) {
    expect_case(c, result.answers.at(c.request.number));
  }
}

TEST_P(GoldenTest, DecodesAreExact) {
  const auto folder = kData / GetParam().folder;
  expect_decodes(folder, folder / "decode.json", options(), 80);
}

INSTANTIATE_TEST_SUITE_P(Layouts, GoldenTest,
                         testing::Values(Layout{"wide", 1, 1}, Layout{"wide", 1, 2, "portable"}, Layout{"wide", 1, 1, "avx2"},
                                         Layout{"wide", 3, 1}, Layout{"uneven", 1, 3}, Layout{"uneven", 4, 1},
                                         Layout{"uneven", 13, 1}, Layout{"plain", 1, 2}, Layout{"plain", 2, 1},
                                         Layout{"plain", 8, 1}),
                         [](const auto& instance) {
                           const auto& p = instance.param;
                           return p.folder + "_" + std::to_string(p.ranks) + "ranks_" + std::to_string(p.threads) + "threads_" + p.kernel;
                         });

class DemoInBfloat16 : public testing::TestWithParam<std::string> {};

/// Rounding costs at most two of the sixty right answers, with each decoder, whatever kernels round.
TEST_P(DemoInBfloat16, KeepsTheRightAnswers) {
  for (const auto* family : experts::kernel_families()) {
    if (family->name == GetParam() && !family->supported()) {
      GTEST_SKIP() << family->name << " needs " << family->needs;
    }
  }
  auto cases = read_decode_cases(kData / "demo/decode.json");
  std::erase_if(cases, [](const auto& c) { return c.request.options.cache != runtime::CachePolicy::kNone; });
  std::vector<runtime::Request> requests;
  std::transform(cases.begin(), cases.end(), std::back_inserter(requests), [](const auto& c) { return c.request; });
  const JobResult result = run_job(kDemo, {.num_threads = 2, .precision = experts::Precision::kBfloat16, .kernel = GetParam()}, requests);
  std::map<runtime::DecoderKind, int> right, kept;
  for (const auto& c : cases) {
    const auto& answer = result.answers.at(c.request.number);
    ASSERT_FALSE(answer.error) << answer.error->what();
    const bool was_right = c.text == c.answer;
    const auto told = std::min(answer.text_tokens + 1, std::ssize(answer.tokens));  // with the end, if it is there
    right[c.request.options.decoder] += was_right ? 1 : 0;
    kept[c.request.options.decoder] += was_right && std::equal(answer.tokens.begin(), answer.tokens.begin() + told, c.tokens.begin()) ? 1 : 0;
  }
  EXPECT_EQ(right.size(), 3U);  // steps, threshold, hierarchy
  for (const auto& [decoder, count] : right) {
    EXPECT_GE(count, 40);
    EXPECT_GE(kept[decoder], count - 2);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, DemoInBfloat16, testing::Values("auto", "avx512bf16"));

TEST(Demo, SixtyQuestionsAreExact) {
  expect_decodes(kDemo, kData / "demo/decode.json", {.num_ranks = 2, .num_threads = 1}, 420);
}

}  // namespace
}  // namespace unmask::testing_data
