// SPDX-License-Identifier: Apache-2.0
#include "bench/synthetic_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "bench/known_configs.h"

namespace unmask::bench {
namespace {

using experts::Layout;
using experts::Matrix;

std::string source_path(const char* name) { return std::string(UNMASK_SOURCE_DIR) + "/" + name; }

runtime::ModelConfig small_config() { return bench_config(source_path("tests/data/uneven/config.json")); }

struct Job {
  std::int64_t num_ranks = 1;
  std::int64_t rank = 0;
  int num_threads = 1;
  Layout layout = Layout::kRows;
  experts::WeightType type = experts::WeightType::kBf16;
};

runtime::ModelWeights make(const Job& job) {
  ThreadTeam team(job.num_threads);
  const auto config = small_config();
  return synthetic_model(config, cluster::Placement::even(config.num_experts, job.num_ranks), Rank(job.rank), {.layout = job.layout, .expert_type = job.type}, team);
}

std::vector<const Matrix*> matrices_of(const runtime::ModelWeights& w) {
  std::vector<const Matrix*> all = {&w.embedding, &w.head};
  for (const auto& layer : w.layers) {
    all.insert(all.end(), {&layer.q_proj, &layer.k_proj, &layer.v_proj, &layer.o_proj, &layer.router});
    for (const auto& expert : layer.experts) {
      all.insert(all.end(), {&expert.gate, &expert.up, &expert.down});
    }
  }
  return all;
}

bool equal(const Matrix& a, const Matrix& b) {
  const auto values = [](const Matrix& m) {
    return m.layout() == Layout::kRows ? m.rows() * m.cols() : m.num_panels() * m.panel_size();
  };
  return a.layout() == b.layout() && a.rows() == b.rows() && a.cols() == b.cols() &&
         std::memcmp(a.data(), b.data(), size(values(a)) * sizeof(bfloat16)) == 0;
}

TEST(SyntheticModel, IsTheSameForAnyNumberOfThreads) {
  const auto one = make({});
  for (const int threads : {2, 3}) {
    const auto other = make({.num_threads = threads});
    const auto a = matrices_of(one), b = matrices_of(other);
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_TRUE(equal(*a[i], *b[i])) << "matrix " << i;
    }
    EXPECT_EQ(one.final_norm, other.final_norm);
  }
}

TEST(SyntheticModel, NoTwoRowsAreAlikeAndTheirSizeIsRight) {
  const auto weights = make({});
  std::set<std::string> rows;
  std::size_t count = 0;
  for (const Matrix* m : matrices_of(weights)) {
    double squares = 0;
    for (std::int64_t r = 0; r < m->rows(); ++r, ++count) {
      rows.emplace(reinterpret_cast<const char*>(m->row(r)), size(m->cols()) * sizeof(bfloat16));
      for (std::int64_t c = 0; c < m->cols(); ++c) {
        squares += std::pow(to_float(m->row(r)[c]), 2);
      }
    }
    const auto& layers = weights.layers;
    const bool is_attention_output = std::any_of(layers.begin(), layers.end(), [&](const auto& layer) { return m == &layer.o_proj; });
    const double gain = is_attention_output ? kAttentionGain : 1;
    const double expected = m == &weights.embedding ? 1 : gain * gain / static_cast<double>(m->cols());
    EXPECT_NEAR(squares / static_cast<double>(m->rows() * m->cols()) / expected, 1, 0.15);
  }
  EXPECT_EQ(rows.size(), count);
}

TEST(SyntheticModel, RanksHoldPartsOfTheSameNetwork) {
  const auto whole = make({});
  const auto placement = cluster::Placement::even(small_config().num_experts, 3);
  for (std::int64_t rank = 0; rank < 3; ++rank) {
    const auto part = make({.num_ranks = 3, .rank = rank});
    EXPECT_TRUE(equal(part.head, whole.head));
    const auto held = placement.held_by(Rank(rank));
    ASSERT_EQ(part.layers.front().experts.size(), held.size());
    for (std::size_t layer = 0; layer < whole.layers.size(); ++layer) {
      for (std::size_t i = 0; i < held.size(); ++i) {
        EXPECT_TRUE(equal(part.layers[layer].experts[i].down, whole.layers[layer].experts[held[i].at()].down));
      }
    }
  }
}

TEST(SyntheticModel, PanelsAreThePackedRows) {
  auto rows = make({});
  const auto panels = make({.layout = Layout::kPanels});
  EXPECT_TRUE(equal(panels.embedding, rows.embedding));
  EXPECT_TRUE(equal(panels.layers[0].router, rows.layers[0].router));
  for (Matrix* m : {&rows.head, &rows.layers[1].q_proj, &rows.layers[1].experts[2].up}) {
    m->pack();
  }
  EXPECT_TRUE(equal(panels.head, rows.head));
  EXPECT_TRUE(equal(panels.layers[1].q_proj, rows.layers[1].q_proj));
  EXPECT_TRUE(equal(panels.layers[1].experts[2].up, rows.layers[1].experts[2].up));
}

TEST(KnownConfigs, TheNamedOneIsThePublishedOne) {
  const auto named = bench_config("llada-moe-7b");
  const auto published = bench_config(source_path("tests/data/configs/llada-moe-7b-a1b.json"));
  EXPECT_EQ(named.num_parameters(), published.num_parameters());
  EXPECT_EQ(named.num_layers, published.num_layers);
  EXPECT_EQ(named.experts_per_token, published.experts_per_token);
  EXPECT_EQ(named.num_heads, published.num_heads);
  EXPECT_EQ(named.num_kv_heads, published.num_kv_heads);
  EXPECT_EQ(named.head_dim, published.head_dim);
  EXPECT_EQ(named.max_positions, published.max_positions);
  EXPECT_EQ(named.rms_norm_eps, published.rms_norm_eps);
  EXPECT_EQ(named.rope_theta, published.rope_theta);
  EXPECT_EQ(named.renormalise_top_k, published.renormalise_top_k);
  EXPECT_THROW(bench_config("no-such-model"), Error);
}

}  // namespace
}  // namespace unmask::bench
