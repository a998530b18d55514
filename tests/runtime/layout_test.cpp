// SPDX-License-Identifier: Apache-2.0
// The promise of DESIGN.md section 5: the same tokens for every layout, batch and order, in float32 and in bfloat16.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "golden_cases.h"
#include "rank_job.h"

namespace unmask::testing_data {
namespace {

const std::filesystem::path kData = std::filesystem::path(UNMASK_SOURCE_DIR) / "tests/data";

/// Requests of ragged lengths with every decoder and cache policy, mixed.
std::vector<runtime::Request> ragged_requests(const std::filesystem::path& folder, std::size_t count) {
  std::vector<runtime::Request> requests;
  for (const auto& c : read_decode_cases(folder / "decode.json")) {
    requests.push_back(c.request);
  }
  std::mt19937 random(3);
  std::shuffle(requests.begin(), requests.end(), random);
  requests.resize(std::min(count, requests.size()));
  return requests;
}

/// Everything that must be equal, down to the last bit of each confidence.
void expect_same(const JobResult& a, const JobResult& b, const std::string& what) {
  ASSERT_EQ(a.answers.size(), b.answers.size()) << what;
  for (const auto& [number, answer] : a.answers) {
    const auto& other = b.answers.at(number);
    EXPECT_EQ(answer.tokens, other.tokens) << what << ", request " << number;
    EXPECT_EQ(answer.passes, other.passes) << what << ", request " << number;
    EXPECT_EQ(answer.rows, other.rows) << what << ", request " << number;
    ASSERT_EQ(answer.trace.size(), other.trace.size()) << what;
    for (std::size_t s = 0; s < answer.trace.size(); ++s) {
      ASSERT_EQ(answer.trace[s].unmasked.size(), other.trace[s].unmasked.size()) << what;
      for (std::size_t u = 0; u < answer.trace[s].unmasked.size(); ++u) {
        EXPECT_EQ(answer.trace[s].unmasked[u].confidence, other.trace[s].unmasked[u].confidence) << what << ", request " << number;
      }
    }
  }
}

class LayoutTest : public testing::TestWithParam<std::tuple<std::string, experts::Precision>> {
 protected:
  std::filesystem::path folder() const { return kData / std::get<0>(GetParam()); }
  JobOptions options(std::int64_t ranks, int threads) const {
    return {.num_ranks = ranks, .num_threads = threads, .precision = std::get<1>(GetParam())};  // the best kernels for it
  }
};

TEST_P(LayoutTest, SameBitsForAnyRanksAndThreads) {
  const auto requests = ragged_requests(folder(), 14);
  const JobResult reference = run_job(folder(), options(1, 1), requests);
  EXPECT_EQ(reference.wire_bytes, 0U);
  for (const auto& [ranks, threads] : {std::pair{1, 3}, {2, 1}, {3, 1}, {4, 2}, {8, 1}, {13, 1}}) {
    const JobResult result = run_job(folder(), options(ranks, threads), requests);
    expect_same(reference, result, format("{} ranks, {} threads", ranks, threads));
    EXPECT_EQ(result.wire_bytes > 0, ranks > 1) << "rows must cross ranks";
  }
}

TEST_P(LayoutTest, SameBitsForAnyPlacement) {
  const auto requests = ragged_requests(folder(), 5);
  const JobResult reference = run_job(folder(), options(1, 1), requests);
  const runtime::Checkpoint checkpoint(folder());
  std::mt19937 random(17);
  for (int round = 0; round < 4; ++round) {
    auto job = options(3, 1);
    job.owner.emplace();
    for (std::int64_t e = 0; e < checkpoint.config().num_experts; ++e) {
      job.owner->push_back(Rank(static_cast<std::int32_t>(random() % 3)));
    }
    expect_same(reference, run_job(folder(), job, requests), format("random placement {}", round));
  }
}

TEST_P(LayoutTest, SameBitsForAnyWayToExchange) {
  const auto requests = ragged_requests(folder(), 5);
  const JobResult reference = run_job(folder(), options(1, 1), requests);
  const runtime::Checkpoint checkpoint(folder());
  std::mt19937 random(31);
  for (const std::int64_t ranks : {2, 3, 5}) {
    std::vector<Rank> shuffled;
    for (std::int64_t e = 0; e < checkpoint.config().num_experts; ++e) {
      shuffled.emplace_back(e % ranks);
    }
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    for (const auto overlap : {comm::Overlap::kOff, comm::Overlap::kOn}) {
      for (const auto algorithm : {comm::Algorithm::kDirect, comm::Algorithm::kAllGather}) {
        auto job = options(ranks, ranks == 3 ? 2 : 1);
        job.exchange = {.overlap = overlap, .algorithm = algorithm, .min_message_bytes = ranks == 5 ? 300 : 1};
        const std::string what = format("{} ranks, overlap {}, algorithm {}", ranks, static_cast<int>(overlap), static_cast<int>(algorithm));
        expect_same(reference, run_job(folder(), job, requests), what);
        job.owner = shuffled;
        expect_same(reference, run_job(folder(), job, requests), what + ", shuffled placement");
      }
    }
  }
}

TEST_P(LayoutTest, SameBitsInTwoMicroBatches) {
  const auto requests = ragged_requests(folder(), 7);
  const JobResult reference = run_job(folder(), options(1, 1), requests);
  const auto num_layers = size(runtime::Checkpoint(folder()).config().num_layers);
  for (const std::int64_t ranks : {1, 2, 3, 5, 8}) {  // some ranks have one sequence, some none
    auto job = options(ranks, ranks == 3 ? 2 : 1);
    job.exchange.algorithm = ranks == 5 ? comm::Algorithm::kAllGather : comm::Algorithm::kDirect;
    job.exchange.overlap = ranks == 8 ? comm::Overlap::kOff : comm::Overlap::kOn;
    job.max_rows = ranks == 2 ? 60 : 4096;
    job.micro_batching.count = runtime::MicroBatching::Count::kTwo;
    const JobResult as_two = run_job(folder(), job, requests);
    expect_same(reference, as_two, format("two micro-batches, {} ranks", ranks));
    // A pass has one exchange in the first layer and two in each other one; the last one of all has nothing but votes.
    EXPECT_EQ((as_two.num_exchanges / size(ranks) - 1) % (2 * num_layers - 1), 0U) << as_two.num_exchanges;
  }
}

TEST_P(LayoutTest, SameBitsAloneAndAmongOthersInAnyOrder) {
  auto requests = ragged_requests(folder(), 20);
  JobResult reference;
  for (const auto& request : requests) {
    auto alone = run_job(folder(), options(1, 1), {request});
    reference.answers.merge(alone.answers);
  }
  std::mt19937 random(23);
  for (const std::int64_t max_rows : {4096, 100, 1}) {
    std::shuffle(requests.begin(), requests.end(), random);
    auto job = options(2, 1);
    job.max_rows = max_rows;
    expect_same(reference, run_job(folder(), job, requests), format("shuffled, at most {} rows", max_rows));
  }
}

TEST_P(LayoutTest, SameBitsWithLittleMemoryForKeysAndValues) {
  auto requests = ragged_requests(folder(), 20);
  const JobResult reference = run_job(folder(), options(1, 1), requests);
  EXPECT_EQ(reference.kv_bytes, 0U);
  // What the longest request needs, by itself and half as much again: then one or two of them run at a time.
  std::uint64_t most = 0;
  for (const auto& request : requests) {
    most = std::max(most, run_job(folder(), options(1, 1), {request}).kv_peak_bytes);
  }
  EXPECT_GT(reference.kv_peak_bytes, 2 * most);
  std::mt19937 random(29);
  for (const std::uint64_t budget : {most, most * 3 / 2}) {
    std::shuffle(requests.begin(), requests.end(), random);
    auto job = options(2, 1);
    job.kv_memory_bytes = budget;
    const JobResult result = run_job(folder(), job, requests);
    expect_same(reference, result, format("{} bytes for keys and values", budget));
    EXPECT_LE(result.kv_peak_bytes, budget);
    EXPECT_EQ(result.kv_bytes, 0U);
  }
}

TEST_P(LayoutTest, StoredKeysHaveTheBitsOfFreshOnes) {
  auto fresh = ragged_requests(folder(), 6);
  auto stored = fresh;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    fresh[i].options.cache = runtime::CachePolicy::kNone;
    stored[i].options.cache = runtime::CachePolicy::kDual;
  }
  const JobResult a = run_job(folder(), options(1, 2), fresh);
  const JobResult b = run_job(folder(), options(1, 2), stored);
  for (const auto& request : fresh) {
    const auto& x = a.answers.at(request.number).trace.at(0);  // a block's first pass feeds everything
    const auto& y = b.answers.at(request.number).trace.at(0);
    ASSERT_EQ(x.unmasked.size(), y.unmasked.size());
    for (std::size_t u = 0; u < x.unmasked.size(); ++u) {
      EXPECT_EQ(x.unmasked[u].confidence, y.unmasked[u].confidence) << "request " << request.number;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, LayoutTest,
                         testing::Combine(testing::Values("wide", "uneven", "plain"),
                                          testing::Values(experts::Precision::kFloat32, experts::Precision::kBfloat16)),
                         [](const auto& instance) {
                           return std::get<0>(instance.param) + (std::get<1>(instance.param) == experts::Precision::kFloat32 ? "_f32" : "_bf16");
                         });

/// The families that are not the best one keep the promise too, in bfloat16.
class ForcedKernelsTest : public testing::TestWithParam<const experts::KernelFamily*> {};

TEST_P(ForcedKernelsTest, SameBitsForAnyRanksThreadsAndOrder) {
  if (!GetParam()->supported()) {
    GTEST_SKIP() << GetParam()->name << " needs " << GetParam()->needs;
  }
  const auto folder = kData / "uneven";
  auto requests = ragged_requests(folder, 5);
  JobOptions job{.precision = experts::Precision::kBfloat16, .kernel = std::string(GetParam()->name)};
  const JobResult reference = run_job(folder, job, requests);
  std::reverse(requests.begin(), requests.end());
  for (const auto& [ranks, threads] : {std::pair{1, 3}, {3, 1}, {4, 2}}) {
    job.num_ranks = ranks;
    job.num_threads = threads;
    job.max_rows = 100;
    expect_same(reference, run_job(folder, job, requests), format("{} ranks, {} threads", ranks, threads));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ForcedKernelsTest,
                         testing::ValuesIn(experts::kernel_families().begin(), experts::kernel_families().end()),
                         [](const auto& instance) { return std::string(instance.param->name); });

TEST(Sharding, FourRanksReadAQuarterOfTheExpertBytes) {
  const auto folder = kData / "wide";
  const auto requests = ragged_requests(folder, 4);
  const auto one = run_job(folder, {.num_ranks = 1}, requests);
  const auto four = run_job(folder, {.num_ranks = 4}, requests);
  const runtime::Checkpoint checkpoint(folder);
  const auto& c = checkpoint.config();
  const auto expert_bytes = static_cast<std::uint64_t>(c.num_layers * c.num_experts * 3 * c.hidden * c.expert_width * 2);
  for (const auto bytes : four.bytes_read) {
    EXPECT_EQ(bytes, one.bytes_read[0] - expert_bytes * 3 / 4);
  }
}

TEST(Requests, ThatCannotRunFailAlone) {
  const auto folder = kData / "plain";
  auto requests = ragged_requests(folder, 4);
  requests[1].prompt.push_back(320);                // the vocabulary ends at 319
  requests[2].options.gen_length = 100000;          // beyond max_position_embeddings
  requests[3].prompt.clear();                       // legal
  const auto result = run_job(folder, {.num_ranks = 2}, requests);
  ASSERT_EQ(result.answers.size(), 4U);
  EXPECT_FALSE(result.answers.at(requests[0].number).error);
  ASSERT_TRUE(result.answers.at(requests[1].number).error);
  EXPECT_EQ(result.answers.at(requests[1].number).error->code(), ExitCode::kBadInput);
  EXPECT_NE(std::string(result.answers.at(requests[1].number).error->what()).find("320"), std::string::npos);
  ASSERT_TRUE(result.answers.at(requests[2].number).error);
  EXPECT_NE(std::string(result.answers.at(requests[2].number).error->what()).find("256 positions"), std::string::npos);
  ASSERT_FALSE(result.answers.at(requests[3].number).error);
  EXPECT_EQ(result.answers.at(requests[3].number).tokens.size(), size(requests[3].options.gen_length));
}

TEST(Requests, WhoseKeysAndValuesCanNeverFitAreRefused) {
  const auto folder = kData / "plain";
  auto requests = ragged_requests(folder, 2);
  requests[0].options.cache = runtime::CachePolicy::kDual;
  requests[1].options.cache = runtime::CachePolicy::kNone;
  requests[0].options.smoothing = requests[1].options.smoothing = false;  // it keeps memory without keys, too
  const auto result = run_job(folder, {.kv_memory_bytes = 1000}, requests);
  ASSERT_TRUE(result.answers.at(requests[0].number).error);
  EXPECT_EQ(result.answers.at(requests[0].number).error->code(), ExitCode::kBadInput);
  const std::string message = result.answers.at(requests[0].number).error->what();
  const auto positions = requests[0].prompt.size() + size(requests[0].options.gen_length);
  const auto config = runtime::Checkpoint(folder).config();
  const auto bytes = positions * size(config.num_layers * 2 * config.num_kv_heads * config.head_dim) * sizeof(float);
  EXPECT_NE(message.find(format("{} positions need {} bytes; this rank has 1000", positions, bytes)), std::string::npos) << message;
  EXPECT_FALSE(result.answers.at(requests[1].number).error);
}

TEST(Requests, WithGuidanceKeepKeysAndValuesOfBothSides) {
  const auto folder = kData / "plain";
  runtime::Request plain{.number = 0, .id = "a", .prompt = {1, 2, 3}, .options = {.gen_length = 20, .block_length = 8}};
  runtime::Request guided = plain;
  guided.options.cfg_scale = 1.5;
  const std::uint64_t needs = run_job(folder, {}, {plain}).kv_peak_bytes;
  const auto fits = run_job(folder, {.kv_memory_bytes = 2 * needs}, {guided});
  EXPECT_FALSE(fits.answers.at(0).error);
  EXPECT_EQ(fits.kv_peak_bytes, 2 * needs);
  EXPECT_EQ(fits.kv_bytes, 0U);
  const auto refused = run_job(folder, {.kv_memory_bytes = 2 * needs - 1}, {guided});
  ASSERT_TRUE(refused.answers.at(0).error);
  EXPECT_NE(std::string(refused.answers.at(0).error->what()).find(format("46 positions need {} bytes; this rank has {}", 2 * needs, 2 * needs - 1)),
            std::string::npos) << refused.answers.at(0).error->what();
}

/// Without a prompt both sides are the same, so guidance of any scale changes nothing but the rows.
TEST(Requests, WithGuidanceAndAnEmptyPromptAnswerAsWithout) {
  const auto folder = kData / "uneven";
  for (const auto cache : {runtime::CachePolicy::kNone, runtime::CachePolicy::kPrefix, runtime::CachePolicy::kDual, runtime::CachePolicy::kVicinity}) {
    runtime::Request plain{.number = 0, .id = "a", .prompt = {}, .options = {.gen_length = 20, .block_length = 8, .cache = cache, .smoothing = true}};
    runtime::Request guided = plain;
    guided.number = 1;
    guided.options.cfg_scale = 3;
    const auto result = run_job(folder, {}, {plain, guided});
    ASSERT_FALSE(result.answers.at(1).error);
    EXPECT_EQ(result.answers.at(1).tokens, result.answers.at(0).tokens);
    EXPECT_EQ(result.answers.at(1).passes, result.answers.at(0).passes);
    EXPECT_EQ(result.answers.at(1).rows, 2 * result.answers.at(0).rows);
  }
}

}  // namespace
}  // namespace unmask::testing_data
