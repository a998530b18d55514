// SPDX-License-Identifier: Apache-2.0
// The head's reducers and the credit decoder, held against softmax over the whole vocabulary in double precision.
#include "runtime/head.h"

#include <algorithm>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "runtime/credit.h"

namespace unmask::runtime {
namespace {

constexpr std::int64_t kVocab = 1031, kHidden = 24;
constexpr TokenId kMask = 300;

class HeadTest : public testing::TestWithParam<int> {
 protected:
  HeadTest() : team(GetParam()), weight(kVocab, kHidden), embedding(kVocab, kHidden), head(weight, embedding, compute()) {
    std::normal_distribution<float> normal(0, 0.8F);
    std::generate_n(weight.data(), kVocab * kHidden, [&] { return to_bfloat16(normal(random)); });
    std::generate_n(embedding.data(), kVocab * kHidden, [&] { return to_bfloat16(normal(random)); });
  }

  experts::Compute compute() { return {&experts::choose_kernel_family("auto", experts::Precision::kFloat32), &team, experts::Precision::kFloat32}; }

  std::vector<float> random_rows(std::int64_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> rows(size(count * kHidden));
    std::generate(rows.begin(), rows.end(), [&] { return normal(random); });
    return rows;
  }

  std::mt19937 random{3};
  ThreadTeam team;
  experts::Matrix weight, embedding;
  Head head;
};

struct Dense {
  std::vector<double> p;
  TokenId best = -1, favourite = -1;
};

Dense softmax(const std::vector<double>& logits) {
  Dense d;
  const double top = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (const double l : logits) {
    total += std::exp(l - top);
  }
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const auto token = static_cast<TokenId>(i);
    d.p.push_back(std::exp(logits[i] - top) / total);
    d.favourite = d.favourite < 0 || d.p[i] > d.p[static_cast<std::size_t>(d.favourite)] ? token : d.favourite;
    if (token != kMask) {
      d.best = d.best < 0 || d.p[i] > d.p[static_cast<std::size_t>(d.best)] ? token : d.best;
    }
  }
  return d;
}

TEST_P(HeadTest, CandidatesMatchTheWholeSoftmax) {
  constexpr std::int64_t kRows = 70;
  const auto rows = random_rows(kRows);
  std::vector<HeadQuery> queries(kRows, {.excluded = kMask, .apart = {}});
  const auto logits = head.logits(rows);
  const auto summaries = head.summarise(rows, queries);
  for (std::int64_t r = 0; r < kRows; ++r) {
    const Dense d = softmax({logits.begin() + r * kVocab, logits.begin() + (r + 1) * kVocab});
    const auto c = candidate_of(summaries[size(r)], {}, *compute().kernels);
    EXPECT_EQ(c.token, d.best);
    EXPECT_NEAR(c.confidence, d.p[size(d.best)], 1e-6);
    EXPECT_EQ(summaries[size(r)].all.top_token, d.favourite);
    const auto alone = head.summarise({rows.data() + r * kHidden, kHidden}, {queries.data(), 1});
    EXPECT_EQ(candidate_of(alone[0], {}, *compute().kernels).confidence, c.confidence);  // bit for bit
  }
}

TEST_P(HeadTest, CreditMatchesADenseMatrix) {
  const SamplingOptions options{.decoder = DecoderKind::kCredit, .credit_decay = 0.7, .credit_power = 0.3, .credit_weight = 1.5};
  constexpr int kSequences = 6, kSteps = 8;
  for (int s = 0; s < kSequences; ++s) {
    auto row = random_rows(1);
    if (s == 0) {  // a row whose favourite is the mask
      std::transform(weight.row(kMask), weight.row(kMask) + kHidden, row.begin(), to_float);
    }
    Credit credit;
    std::vector<double> dense(kVocab, 0.0);
    for (int step = 0; step < kSteps; ++step) {
      const HeadQuery query{.excluded = kMask, .apart = credit.tokens()};
      const auto summary = head.summarise(row, {&query, 1});
      const auto got = credit.step(summary[0], {.excluded = kMask, .apart = {}}, options);
      const auto plain = head.logits(row);
      const Dense before = softmax({plain.begin(), plain.end()});
      for (auto& c : dense) {
        c *= options.credit_decay;
      }
      dense[size(before.favourite)] += std::pow(before.p[size(before.favourite)], options.credit_power);
      std::vector<double> raised(plain.begin(), plain.end());
      for (std::size_t i = 0; i < raised.size(); ++i) {
        raised[i] += options.credit_weight * std::log1p(dense[i]);
      }
      const Dense after = softmax(raised);
      EXPECT_EQ(got.token, after.best) << "sequence " << s << ", step " << step;
      EXPECT_NEAR(got.confidence, after.p[size(after.best)], 2e-6);
      std::normal_distribution<float> drift(0, 0.4F);
      std::for_each(row.begin(), row.end(), [&](float& x) { x += drift(random); });
    }
    EXPECT_GE(credit.tokens().size(), 1U);
  }
}

/// softmax . embeddings, in double precision.
std::vector<double> expected_embedding(const std::vector<float>& logits, const experts::Matrix& embedding) {
  const Dense d = softmax({logits.begin(), logits.end()});
  std::vector<double> sum(size(embedding.cols()), 0.0);
  for (std::int64_t token = 0; token < embedding.rows(); ++token) {
    for (std::int64_t i = 0; i < embedding.cols(); ++i) {
      sum[size(i)] += d.p[size(token)] * double{to_float(embedding.row(token)[i])};
    }
  }
  return sum;
}

TEST_P(HeadTest, ExpectedEmbeddingsMatchTheWholeSoftmaxAndAreTheRowsOwn) {
  constexpr std::int64_t kRows = 70;
  const auto rows = random_rows(kRows);
  const std::vector<TokenId> apart = {0, 5, kMask, 700, 1030};
  std::vector<HeadQuery> queries(kRows, {.excluded = kMask, .apart = {}, .expectation = Expectation::kEmbedding});
  for (std::size_t r = 0; r < queries.size(); r += 3) {
    queries[r].expectation = Expectation::kNone;
  }
  queries[1].apart = apart;  // tokens kept apart count all the same
  const auto summaries = head.summarise(rows, queries);
  for (std::int64_t r = 0; r < kRows; ++r) {
    const std::span row(rows.data() + r * kHidden, size(kHidden));
    const auto& got = summaries[size(r)].expected;
    if (r % 3 == 0) {
      EXPECT_TRUE(got.empty());
      continue;
    }
    const auto expected = expected_embedding(head.logits(row), embedding);
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_NEAR(got[i], expected[i], 2e-6) << "row " << r;
    }
    if (r != 1) {
      EXPECT_EQ(head.summarise(row, {queries.data() + 2, 1})[0].expected, got);  // bit for bit
    }
  }
}

TEST_P(HeadTest, NoRowsAreFine) { EXPECT_TRUE(head.summarise({}, {}).empty()); }

INSTANTIATE_TEST_SUITE_P(Threads, HeadTest, testing::Values(1, 3));

}  // namespace
}  // namespace unmask::runtime
