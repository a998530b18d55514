// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "runtime/input_file.h"
#include "runtime/tensor_values.h"
#include "tests/runtime/checkpoint_fixture.h"

namespace unmask::runtime {
namespace {

using cluster::Placement;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::RawTensor;
using testing::RawTensors;
using testing::refusal;
using testing::source_path;
using testing::TempFolder;

/// Compares what was loaded with an independent reading of the same folder.
class Comparison {
 public:
  explicit Comparison(RawTensors tensors) : tensors_(std::move(tensors)) {}

  void whole(const experts::Matrix& matrix, const std::string& name) { part(matrix, name, 0); }
  /// `matrix` against the elements of the tensor from `first` on.
  void part(const experts::Matrix& matrix, const std::string& name, std::int64_t first) {
    const std::vector<double>& values = values_of(name);
    ASSERT_LE(first + matrix.rows() * matrix.cols(), std::ssize(values)) << name;
    for (std::int64_t i = 0; i < matrix.rows() * matrix.cols(); ++i) {
      const double expected = values[size(first + i)];
      ASSERT_EQ(to_float(matrix.data()[i]), round_to_bfloat16(static_cast<float>(expected))) << name << " element " << first + i;
    }
    bytes_ += static_cast<std::uint64_t>(matrix.rows() * matrix.cols()) * bytes_per_value(name);
  }
  void norm(const std::vector<float>& norm, const std::string& name) {
    const std::vector<double>& values = values_of(name);
    ASSERT_EQ(norm.size(), values.size()) << name;
    for (std::size_t i = 0; i < norm.size(); ++i) {
      ASSERT_EQ(static_cast<double>(norm[i]), values[i]) << name << " element " << i;
    }
    bytes_ += norm.size() * bytes_per_value(name);
  }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  std::uint64_t bytes() const { return bytes_; }  ///< stored bytes of all that was compared

 private:
  const std::vector<double>& values_of(const std::string& name) {
    auto [entry, is_new] = cache_.try_emplace(name);
    if (is_new) {
      entry->second = testing::values_of(tensors_.at(name));
    }
    return entry->second;
  }
  std::uint64_t bytes_per_value(const std::string& name) const { return tensors_.at(name).dtype == "F32" ? 4 : 2; }

  RawTensors tensors_;
  std::map<std::string, std::vector<double>> cache_;
  std::uint64_t bytes_ = 0;
};

void compare_expert(Comparison& comparison, const experts::Expert& expert, const std::string& prefix, ExpertId id) {
  const std::int64_t matrix = expert.gate.rows() * expert.gate.cols();
  if (comparison.has(prefix + "mlp.w1")) {
    comparison.part(expert.gate, prefix + "mlp.w1", id.value * 2 * matrix);
    comparison.part(expert.up, prefix + "mlp.w1", (id.value * 2 + 1) * matrix);
    comparison.part(expert.down, prefix + "mlp.w2", id.value * matrix);
  } else {
    const std::string name = format("{}mlp.experts.{}.", prefix, id);
    comparison.whole(expert.gate, name + "gate_proj.weight");
    comparison.whole(expert.up, name + "up_proj.weight");
    comparison.whole(expert.down, name + "down_proj.weight");
  }
}

/// Loads one rank and compares every tensor, and the bytes.
void expect_loads(const std::filesystem::path& folder, const RawTensors& tensors, const Placement& placement, Rank rank,
                  int num_threads) {
  const Checkpoint checkpoint(folder);
  const ModelConfig& config = checkpoint.config();
  ThreadTeam team(num_threads);
  const LoadResult loaded = checkpoint.load(placement, rank, team);
  const ModelWeights& w = loaded.weights;
  Comparison comparison(tensors);
  comparison.whole(w.embedding, "model.embed_tokens.weight");
  ASSERT_EQ(std::ssize(w.layers), config.num_layers);
  for (std::int64_t l = 0; l < config.num_layers; ++l) {
    const LayerWeights& layer = w.layers[size(l)];
    const std::string prefix = format("model.layers.{}.", l);
    comparison.norm(layer.input_norm, prefix + "input_layernorm.weight");
    comparison.norm(layer.post_attention_norm, prefix + "post_attention_layernorm.weight");
    if (config.qk_norm) {
      comparison.norm(layer.q_norm, prefix + "self_attn.q_norm.weight");
      comparison.norm(layer.k_norm, prefix + "self_attn.k_norm.weight");
    } else {
      EXPECT_TRUE(layer.q_norm.empty() && layer.k_norm.empty());
    }
    comparison.whole(layer.q_proj, prefix + "self_attn.q_proj.weight");
    comparison.whole(layer.k_proj, prefix + "self_attn.k_proj.weight");
    comparison.whole(layer.v_proj, prefix + "self_attn.v_proj.weight");
    comparison.whole(layer.o_proj, prefix + "self_attn.o_proj.weight");
    comparison.whole(layer.router, prefix + "mlp.gate.weight");
    const auto held = placement.held_by(rank);
    ASSERT_EQ(layer.experts.size(), held.size());
    for (std::size_t e = 0; e < held.size(); ++e) {
      compare_expert(comparison, layer.experts[e], prefix, held[e]);
    }
  }
  comparison.norm(w.final_norm, "model.norm.weight");
  comparison.whole(w.head, "lm_head.weight");
  EXPECT_EQ(loaded.bytes_read, comparison.bytes());
}

class CheckpointFolders : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, CheckpointFolders,
                         ::testing::Values("tests/data/plain", "tests/data/uneven", "tests/data/wide", "models/demo"),
                         [](const auto& param) { return std::filesystem::path(param.param).filename().string(); });

TEST_P(CheckpointFolders, EveryRankHoldsExactlyItsTensors) {
  const auto folder = source_path(GetParam());
  const RawTensors tensors = testing::read_folder(folder);
  const std::int64_t experts = read_model_config(folder).num_experts;
  for (const std::int64_t ranks : {1, 4, 13}) {
    const Placement placement = Placement::even(experts, ranks);
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      SCOPED_TRACE(format("rank {} of {}", rank, ranks));
      expect_loads(folder, tensors, placement, Rank(rank), rank % 2 == 0 ? 1 : 3);
    }
  }
}

}  // namespace
}  // namespace unmask::runtime
