// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint.h"

#include <cmath>
#include <cstring>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "experts/quantised.h"
#include "runtime/tensor_values.h"
#include "tests/runtime/checkpoint_fixture.h"

namespace unmask::runtime {
namespace {

using cluster::Placement;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::Copy;
using testing::RawTensor;
using testing::RawTensors;
using testing::refusal;
using testing::source_path;

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

/// Every expert as its bfloat16 values quantise, byte for byte, whatever form, threads and ranks; the rest as ever.
TEST_P(CheckpointFolders, ExpertsAreQuantisedWhileLoading) {
  const Checkpoint checkpoint(source_path(GetParam()));
  const Placement placement = Placement::even(checkpoint.config().num_experts, 2);
  ThreadTeam alone(1), team(3);
  for (const experts::WeightType type : {experts::WeightType::kInt8, experts::WeightType::kInt4}) {
    const auto plain = checkpoint.load(placement, Rank(1), alone);
    const auto loaded = checkpoint.load(placement, Rank(1), team, {.expert_type = type});
    EXPECT_EQ(loaded.bytes_read, plain.bytes_read);
    std::uint64_t bytes = weight_bytes(checkpoint.config(), placement, Rank(1));
    for (std::size_t layer = 0; layer < plain.weights.layers.size(); ++layer) {
      EXPECT_EQ(loaded.weights.layers[layer].q_proj.layout(), experts::Layout::kRows);
      for (std::size_t e = 0; e < plain.weights.layers[layer].experts.size(); ++e) {
        const experts::Expert& from = plain.weights.layers[layer].experts[e];
        const experts::Expert& got = loaded.weights.layers[layer].experts[e];
        for (const auto& [m, q] : {std::pair{&from.gate, &got.gate}, {&from.up, &got.up}, {&from.down, &got.down}}) {
          experts::Matrix expected(m->rows(), m->cols(), type);
          for (std::int64_t p = 0; p < expected.num_panels(); ++p) {
            experts::quantise_panel(m->row(p * experts::kPanelRows), p, expected);
          }
          ASSERT_EQ(q->bytes(), expected.bytes());
          EXPECT_EQ(std::memcmp(q->quantised_panel(0), expected.quantised_panel(0), size(expected.bytes())), 0);
          bytes += static_cast<std::uint64_t>(q->bytes()) - static_cast<std::uint64_t>(m->bytes());
        }
      }
    }
    EXPECT_EQ(weight_bytes(checkpoint.config(), placement, Rank(1), type), bytes);
  }
}

TEST(Checkpoint, FourRanksReadAQuarterOfTheExpertsEach) {
  const Checkpoint checkpoint(source_path("tests/data/wide"));
  const ModelConfig& c = checkpoint.config();
  const auto expert_bytes = static_cast<std::uint64_t>(c.num_layers * c.num_experts * 3 * c.hidden * c.expert_width * 2);
  const std::uint64_t shared_bytes = checkpoint.tensor_bytes() - expert_bytes;
  EXPECT_EQ(checkpoint.tensor_bytes(), static_cast<std::uint64_t>(c.num_parameters()) * 2);
  ThreadTeam team(2);
  const Placement placement = Placement::even(c.num_experts, 4);
  for (std::int64_t rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(checkpoint.load(placement, Rank(rank), team).bytes_read, shared_bytes + expert_bytes / 4);
    const auto norms = static_cast<std::uint64_t>(c.hidden + c.num_layers * 2 * (c.hidden + c.head_dim));
    EXPECT_EQ(weight_bytes(checkpoint.config(), placement, Rank(rank)), shared_bytes + expert_bytes / 4 + 2 * norms);
  }
}

TEST(Checkpoint, TheProgressEndsAtAllBytes) {
  const Checkpoint checkpoint(source_path("tests/data/uneven"));
  ThreadTeam team(2);
  LoadProgress last;
  const auto caller = std::this_thread::get_id();
  const auto loaded = checkpoint.load(Placement::even(11, 2), Rank(1), team, {.layout = experts::Layout::kRows, .progress = [&](const LoadProgress& progress) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    EXPECT_GE(progress.bytes_read, last.bytes_read);
    last = progress;
  }});
  EXPECT_EQ(last.bytes_read, loaded.bytes_read);
  EXPECT_EQ(last.bytes_total, loaded.bytes_read);
}

/// A load in panels against a load in rows, packed here by the obvious loops; widths that are no whole tiles among them.
void expect_packed(const experts::Matrix& packed, const experts::Matrix& rows) {
  ASSERT_EQ(packed.layout(), experts::Layout::kPanels);
  const std::int64_t padded_cols = packed.panel_size() / experts::kPanelRows;
  for (std::int64_t r = 0; r < packed.num_panels() * experts::kPanelRows; ++r) {
    for (std::int64_t c = 0; c < padded_cols; ++c) {
      const bool inside = r < rows.rows() && c < rows.cols();
      const auto got = packed.panel(r / 16)[c / 2 * 32 + r % 16 * 2 + c % 2];
      ASSERT_EQ(got.bits, inside ? rows.row(r)[c].bits : 0) << r << ", " << c << " of " << rows.rows() << " x " << rows.cols();
    }
  }
}

TEST(Checkpoint, PacksLargeMatricesIntoPanels) {
  for (const std::string folder : {"wide", "uneven", "plain"}) {
    const Checkpoint checkpoint(source_path("tests/data/" + folder));
    ThreadTeam team(3);
    const auto placement = Placement::even(checkpoint.config().num_experts, 2);
    const auto rows = checkpoint.load(placement, Rank(1), team).weights;
    const auto packed = checkpoint.load(placement, Rank(1), team, {.layout = experts::Layout::kPanels, .progress = {}}).weights;
    EXPECT_EQ(packed.embedding.layout(), experts::Layout::kRows);
    expect_packed(packed.head, rows.head);
    for (std::size_t i = 0; i < rows.layers.size(); ++i) {
      const auto &a = packed.layers[i], &b = rows.layers[i];
      EXPECT_EQ(a.router.layout(), experts::Layout::kRows);
      expect_packed(a.q_proj, b.q_proj);
      expect_packed(a.k_proj, b.k_proj);
      expect_packed(a.v_proj, b.v_proj);
      expect_packed(a.o_proj, b.o_proj);
      for (std::size_t e = 0; e < b.experts.size(); ++e) {
        expect_packed(a.experts[e].gate, b.experts[e].gate);
        expect_packed(a.experts[e].up, b.experts[e].up);
        expect_packed(a.experts[e].down, b.experts[e].down);
      }
    }
  }
}

class StoredTypes : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, StoredTypes, ::testing::Values("F16", "F32"));

TEST_P(StoredTypes, AreRoundedToBfloat16) {
  Copy copy("tests/data/uneven");
  std::uint64_t matrices = 0;
  for (auto& [name, tensor] : copy.tensors) {
    matrices += tensor.shape.size() == 2 ? 1U : 0U;
    tensor = testing::stored_as(tensor, GetParam());
  }
  copy.write();
  const Placement placement = Placement::even(11, 1);
  expect_loads(copy.folder.path(), copy.tensors, placement, Rank(0), 2);
  ThreadTeam team(1);
  EXPECT_EQ(Checkpoint(copy.folder.path()).load(placement, Rank(0), team).num_rounded, matrices);
}

TEST(Checkpoint, RoundsToNearestEven) {
  Copy copy("tests/data/plain");
  const std::vector<float> values = {1.0F + 1.0F / 256, 1.0F + 3.0F / 256, 1.0F + 1.0F / 256 + 1e-6F, -3.14159F};
  RawTensor& tensor = copy.tensors["model.layers.0.self_attn.q_proj.weight"];
  tensor = testing::stored_as(tensor, "F32");
  std::memcpy(tensor.bytes.data(), values.data(), 16);
  RawTensor& norm = copy.tensors["model.norm.weight"];  // norms keep all their bits
  norm = testing::stored_as(norm, "F32");
  std::memcpy(norm.bytes.data(), values.data(), 16);
  copy.write();
  ThreadTeam team(1);
  const auto loaded = Checkpoint(copy.folder.path()).load(Placement::even(4, 1), Rank(0), team);
  const bfloat16* q = loaded.weights.layers[0].q_proj.data();
  EXPECT_EQ(q[0].bits, 0x3f80);
  EXPECT_EQ(q[1].bits, 0x3f82);
  EXPECT_EQ(q[2].bits, 0x3f81);
  EXPECT_EQ(q[3].bits, 0xc049);
  EXPECT_EQ(loaded.weights.final_norm[3], -3.14159F);
  EXPECT_EQ(loaded.num_rounded, 1U);
}

/// dInfer's form: the experts of a layer in two tensors.
void fuse_experts(RawTensors& tensors, const std::string& prefix, std::uint64_t experts) {
  RawTensor w1, w2;
  for (std::uint64_t e = 0; e < experts; ++e) {
    const std::string name = format("{}mlp.experts.{}.", prefix, e);
    const RawTensor gate = tensors.at(name + "gate_proj.weight");
    const RawTensor down = tensors.at(name + "down_proj.weight");
    w1.bytes += gate.bytes + tensors.at(name + "up_proj.weight").bytes;
    w2.bytes += down.bytes;
    w1 = {gate.dtype, {experts, 2 * gate.shape[0], gate.shape[1]}, w1.bytes};
    w2 = {down.dtype, {experts, down.shape[0], down.shape[1]}, w2.bytes};
    for (const char* part : {"gate_proj.weight", "up_proj.weight", "down_proj.weight"}) {
      tensors.erase(name + part);
    }
  }
  tensors[prefix + "mlp.w1"] = w1;
  tensors[prefix + "mlp.w2"] = w2;
}

TEST(Checkpoint, ReadsFusedExperts) {
  Copy copy("tests/data/uneven");
  for (int layer = 0; layer < 3; ++layer) {
    if (layer == 1) {
      continue;  // one layer stays as it was: each is judged by itself
    }
    fuse_experts(copy.tensors, format("model.layers.{}.", layer), 11);
  }
  copy.tensors["model.layers.2.mlp.w1"] = testing::stored_as(copy.tensors["model.layers.2.mlp.w1"], "F32");
  copy.write();
  for (std::int64_t rank = 0; rank < 3; ++rank) {
    expect_loads(copy.folder.path(), copy.tensors, Placement::even(11, 3), Rank(rank), 2);
  }
}

struct BadValue {
  const char* tensor;
  const char* dtype;
  std::size_t element;
  float value;
  const char* printed;
};

TEST(Checkpoint, RefusesValuesThatAreNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<BadValue> cases = {
      {"model.embed_tokens.weight", "BF16", 20479, std::nanf(""), "nan"},  // the last one
      {"model.embed_tokens.weight", "BF16", 0, -infinity, "-inf"},
      {"model.layers.0.mlp.experts.2.down_proj.weight", "BF16", 4001, infinity, "inf"},
      {"model.norm.weight", "BF16", 63, infinity, "inf"},
      {"model.norm.weight", "F32", 5, std::nanf(""), "nan"},
      {"lm_head.weight", "F16", 77, infinity, "inf"},
      {"lm_head.weight", "F32", 77, std::numeric_limits<float>::max(), "3.4028235e+38"}};  // finite, but not in bfloat16
  for (const BadValue& bad : cases) {
    Copy copy("tests/data/plain");
    RawTensor& tensor = copy.tensors.at(bad.tensor);
    tensor = bad.dtype == tensor.dtype ? tensor : testing::stored_as(tensor, bad.dtype);
    const std::uint16_t half = tensor.dtype == "F16" ? std::uint16_t{0x7c00} : to_bfloat16(bad.value).bits;
    if (tensor.dtype == "F32") {
      std::memcpy(tensor.bytes.data() + 4 * bad.element, &bad.value, 4);
    } else {
      std::memcpy(tensor.bytes.data() + 2 * bad.element, &half, 2);
    }
    copy.write();
    const Checkpoint checkpoint(copy.folder.path());
    for (const int threads : {1, 3}) {
      ThreadTeam team(threads);
      EXPECT_THAT(refusal([&] { checkpoint.load(Placement::even(4, 1), Rank(0), team); }),
                  AllOf(HasSubstr("model.safetensors"), HasSubstr(format("tensor {}, element {} is {}:", bad.tensor, bad.element, bad.printed))));
    }
  }
}

TEST(Checkpoint, AFileCutOffAfterOpeningIsAnError) {
  Copy copy("tests/data/plain");
  copy.write();
  const Checkpoint checkpoint(copy.folder.path());
  const auto bytes = std::filesystem::file_size(copy.folder / "model.safetensors");
  std::filesystem::resize_file(copy.folder / "model.safetensors", 100'000);
  ThreadTeam team(2);
  EXPECT_THAT(refusal([&] { checkpoint.load(Placement::even(4, 1), Rank(0), team); }),
              AllOf(HasSubstr("model.safetensors: the file ends at byte 100000"), HasSubstr(format("it had {}", bytes))));
}

TEST(Checkpoint, RefusesAPlacementForAnotherModel) {
  const Checkpoint checkpoint(source_path("tests/data/plain"));
  ThreadTeam team(1);
  EXPECT_THROW(checkpoint.load(Placement::even(5, 1), Rank(0), team), Error);
  EXPECT_THROW(checkpoint.load(Placement::even(4, 1), Rank(1), team), Error);
}

}  // namespace
}  // namespace unmask::runtime
