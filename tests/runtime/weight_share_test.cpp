// SPDX-License-Identifier: Apache-2.0
// Ranks that share matrices: what they fill together, part by part, is what each loads alone.
#include "runtime/weight_share.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint_fixture.h"
#include "runtime/checkpoint.h"
#include "runtime/packed_writer.h"

namespace unmask::runtime {
namespace {

using cluster::Placement;
using cluster::SharedMemory;
using experts::Layout;
using experts::Matrix;
using testing::source_path;

std::vector<const Matrix*> shared_matrices(const ModelWeights& w) {
  std::vector<const Matrix*> all = {&w.embedding, &w.head};
  for (const LayerWeights& layer : w.layers) {
    all.insert(all.end(), {&layer.q_proj, &layer.k_proj, &layer.v_proj, &layer.o_proj, &layer.router});
  }
  return all;
}

bool same_matrix(const Matrix& a, const Matrix& b) {
  const std::int64_t bytes = a.layout() == Layout::kPanels ? Matrix::memory_bytes(a.rows(), a.cols()) : a.bytes();
  return a.layout() == b.layout() && a.type() == b.type() && a.rows() == b.rows() && a.cols() == b.cols() &&
         std::memcmp(a.data(), b.data(), size(bytes)) == 0;
}

void expect_same(const ModelWeights& shared, const ModelWeights& own) {
  const auto a = shared_matrices(shared), b = shared_matrices(own);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(same_matrix(*a[i], *b[i])) << "matrix " << i;
  }
  EXPECT_EQ(shared.final_norm, own.final_norm);
  for (std::size_t l = 0; l < own.layers.size(); ++l) {
    const auto &x = shared.layers[l], &y = own.layers[l];
    EXPECT_EQ(x.input_norm, y.input_norm);
    ASSERT_EQ(x.experts.size(), y.experts.size());
    for (std::size_t e = 0; e < y.experts.size(); ++e) {
      EXPECT_TRUE(same_matrix(x.experts[e].gate, y.experts[e].gate) && same_matrix(x.experts[e].down, y.experts[e].down));
    }
  }
}

std::uint64_t bytes_of_norms(const ModelConfig& c, std::uint64_t bytes_each) {
  return static_cast<std::uint64_t>(c.hidden + c.num_layers * (2 * c.hidden + (c.qk_norm ? 2 * c.head_dim : 0))) * bytes_each;
}

/// Some ranks of one host, one after the other, in memory that each maps for itself as processes do.
void load_together(const Checkpoint& checkpoint, std::int64_t num_ranks, Layout layout, std::uint64_t norm_bytes) {
  SCOPED_TRACE(format("{}, {} ranks, layout {}", checkpoint.files().path().string(), num_ranks, static_cast<int>(layout)));
  const ModelConfig& config = checkpoint.config();
  const auto placement = Placement::even(config.num_experts, num_ranks);
  ThreadTeam team(2);
  const SharedMemory memory = SharedMemory::create(shared_memory_bytes(config));
  std::vector<ModelWeights> shared;
  std::uint64_t bytes_read = 0;
  for (std::int64_t rank = 0; rank < num_ranks; ++rank) {
    const WeightShare share{.memory = std::make_shared<const SharedMemory>(SharedMemory::take(memory.offer())), .part = rank, .num_parts = num_ranks};
    auto loaded = checkpoint.load(placement, Rank(rank), team, {.layout = layout, .expert_type = checkpoint.expert_type(), .share = share});
    bytes_read += loaded.bytes_read;
    shared.push_back(std::move(loaded.weights));
    EXPECT_NE(shared.back().shared, nullptr);
  }
  for (std::int64_t rank = 0; rank < num_ranks; ++rank) {
    const auto own = checkpoint.load(placement, Rank(rank), team, {.layout = layout, .expert_type = checkpoint.expert_type()});
    expect_same(shared[size(rank)], own.weights);
  }
  EXPECT_EQ(bytes_read, checkpoint.tensor_bytes() + bytes_of_norms(config, norm_bytes) * static_cast<std::uint64_t>(num_ranks - 1));
}

TEST(WeightShare, IsFilledByTheRanksTogether) {
  const testing::TempFolder folder;
  ThreadTeam team(2);
  for (const char* name : {"tests/data/plain", "tests/data/uneven", "tests/data/wide", "models/demo"}) {
    const Checkpoint checkpoint(source_path(name));
    for (const std::int64_t ranks : {1, 2, 3, 4, 13}) {
      for (const Layout layout : {Layout::kRows, Layout::kPanels}) {
        load_together(checkpoint, ranks, layout, 2);
      }
    }
    for (const auto type : {experts::WeightType::kBf16, experts::WeightType::kInt4}) {
      write_packed(checkpoint, team, {.expert_type = type, .output = folder / "packed"});
      const Checkpoint packed(folder / "packed");
      for (const Layout layout : {Layout::kRows, Layout::kPanels}) {
        load_together(packed, 3, layout, 4);
      }
    }
  }
}

/// The embedding and the head of this one are many parts each, whose rows come from F32.
TEST(WeightShare, LargeMatricesHaveManyParts) {
  testing::Copy copy("tests/data/wide");
  const std::uint64_t hidden = copy.tensors.at("model.embed_tokens.weight").shape[1];
  const std::uint64_t rows = (std::uint64_t{9} << 20) / 2 / hidden + 5;
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    auto& tensor = copy.tensors.at(name);
    const std::string first = tensor.bytes;
    tensor.shape[0] = rows;
    for (tensor.bytes.clear(); tensor.bytes.size() < rows * hidden * 2;) {
      tensor.bytes += first.substr(0, std::min(first.size(), rows * hidden * 2 - tensor.bytes.size()));
    }
  }
  copy.tensors.at("lm_head.weight") = testing::stored_as(copy.tensors.at("lm_head.weight"), "F32");
  copy.set_config("vocab_size", rows);
  copy.write();
  const Checkpoint checkpoint(copy.folder.path());
  for (const Layout layout : {Layout::kRows, Layout::kPanels}) {
    load_together(checkpoint, 3, layout, 2);
  }
}

TEST(WeightShare, PartsAreDealtEvenly) {
  std::vector<std::int64_t> pieces(5);
  for (std::int64_t part = 0; part < 5; ++part) {
    const WeightShare share{.memory = nullptr, .part = part, .num_parts = 5};
    SharedParts parts(share);
    for (int piece = 0; piece < 1000; ++piece) {
      pieces[size(part)] += parts.is_mine(1 << 20) ? 1 : 0;
    }
  }
  EXPECT_EQ(pieces, std::vector<std::int64_t>(5, 200));
}

}  // namespace
}  // namespace unmask::runtime
