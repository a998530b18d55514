// SPDX-License-Identifier: Apache-2.0
// The golden checkpoints on a GPU (here: the simulated one): the same tests as on processors. Logits, router counts and every decode
// case, for ranks that share the device.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "golden_cases.h"
#include "golden_compare.h"
#include "rank_job.h"

namespace unmask::testing_data {
namespace {

const std::filesystem::path kData = std::filesystem::path(UNMASK_SOURCE_DIR) / "tests/data";

struct Layout {
  std::string folder;
  std::int64_t ranks;
};

class DeviceGoldenTest : public testing::TestWithParam<Layout> {
 protected:
  static JobOptions options(experts::Precision precision = experts::Precision::kFloat32) {
    return {.num_ranks = GetParam().ranks, .precision = precision, .on_device = true};
  }
};

/// Root mean square of the difference over that of the expected values.
double relative_difference(std::span<const float> got, std::span<const float> expected) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(double{got[i]} - double{expected[i]}, 2);
    norm += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(difference / norm);
}

runtime::StepBatch whole(const std::vector<TokenId>& tokens) {
  runtime::StepBatch batch;
  batch.add(tokens);
  for (std::int64_t r = 0; r < batch.num_rows(); ++r) {
    batch.wanted.emplace_back(r);
  }
  return batch;
}

TEST_P(DeviceGoldenTest, LogitsAndRouterCounts) {
  const auto cases = read_logits_cases(kData / GetParam().folder / "logits.safetensors");
  JobResult result;
  with_network(kData / GetParam().folder, options(), result, [&](RankParts& parts) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      const auto& c = cases[(i + parts.comm.rank().at()) % cases.size()];
      const auto batch = whole(c.tokens);
      parts.transformer.forward(batch, comm::Vote::kWork);
      const auto logits = parts.transformer.logits(0, batch.num_rows());
      EXPECT_EQ(logits.size(), c.logits.size());
      EXPECT_LE(relative_difference(logits, c.logits), 1e-5);
      EXPECT_THAT(parts.transformer.router_counts(), testing::ElementsAreArray(c.router_counts));
    }
  });
}

/// Every layer rounds some eight times to 8 bits.
TEST_P(DeviceGoldenTest, LogitsInBfloat16AreNear) {
  const auto cases = read_logits_cases(kData / GetParam().folder / "logits.safetensors");
  JobResult result;
  with_network(kData / GetParam().folder, options(experts::Precision::kBfloat16), result, [&](RankParts& parts) {
    const auto batch = whole(cases[0].tokens);
    parts.transformer.forward(batch, comm::Vote::kWork);
    const double bound = 8 * static_cast<double>(parts.config.num_layers) * 0x1p-8;
    EXPECT_LE(relative_difference(parts.transformer.logits(0, batch.num_rows()), cases[0].logits), bound);
  });
}

TEST_P(DeviceGoldenTest, DecodesAreExact) {
  const auto folder = kData / GetParam().folder;
  std::vector<DecodeCase> cases = read_decode_cases(folder / "decode.json");
  ASSERT_GE(cases.size(), 80U);
  if (std::getenv("UNMASK_LONG_TESTS") == nullptr) {  // the simulator takes a minute for 80 of them: every fifth, for each layout others
    const std::int64_t first = GetParam().ranks;
    std::erase_if(cases, [&](const auto& c) { return c.request.number % 5 != first; });
  }
  std::vector<runtime::Request> requests;
  std::ranges::transform(cases, std::back_inserter(requests), &DecodeCase::request);
  const JobResult result = run_job(folder, options(), requests);
  ASSERT_EQ(result.answers.size(), cases.size());
  for (const auto& c : cases) {
    expect_case(c, result.answers.at(c.request.number));
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, DeviceGoldenTest,
                         testing::Values(Layout{"wide", 1}, Layout{"uneven", 2}, Layout{"plain", 1}, Layout{"plain", 3}),
                         [](const auto& instance) { return instance.param.folder + "_" + std::to_string(instance.param.ranks) + "ranks"; });

/// A captured step is replayed, also for steps of other rows.
TEST(DeviceSteps, AreReplayed) {
  const auto cases = read_logits_cases(kData / "plain/logits.safetensors");
  JobResult result;
  with_network(kData / "plain", {.on_device = true}, result, [&](RankParts& parts) {
    for (const std::size_t length : {5U, 7U, 6U, 16U, 1U}) {
      const auto& c = cases[0];
      const std::vector<TokenId> tokens(c.tokens.begin(), c.tokens.begin() + static_cast<std::ptrdiff_t>(std::min(length, c.tokens.size())));
      const auto batch = whole(tokens);
      parts.transformer.forward(batch, comm::Vote::kWork);
      static_cast<void>(parts.transformer.logits(0, batch.num_rows()));
    }
    const auto times = parts.transformer.device_times();
    ASSERT_TRUE(times.has_value());
    EXPECT_EQ(times->queued_steps, 1);
    EXPECT_EQ(times->replayed_steps, 4);
  });
}

}  // namespace
}  // namespace unmask::testing_data
