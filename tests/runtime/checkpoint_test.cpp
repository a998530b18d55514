// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/runtime/checkpoint_fixture.h"

namespace unmask::runtime {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Copy;
using testing::RawTensor;
using testing::RawTensors;
using testing::refusal;
using testing::source_path;
using testing::TempFolder;

TEST(Checkpoint, RefusesMissingAndMisshapenTensors) {
  Copy copy("tests/data/plain");
  copy.tensors.erase("model.layers.0.mlp.experts.3.up_proj.weight");
  EXPECT_THAT(copy.refusal_to_open(), AllOf(HasSubstr("tensor model.layers.0.mlp.experts.3.up_proj.weight is missing"), HasSubstr("[64, 64]")));
  Copy misshapen("tests/data/plain");
  misshapen.tensors["model.norm.weight"].shape = {8, 8};
  EXPECT_THAT(misshapen.refusal_to_open(), AllOf(HasSubstr("model.safetensors: tensor model.norm.weight has shape [8, 8], expected [64]")));
  Copy integers("tests/data/plain");
  integers.tensors["lm_head.weight"].dtype = "I16";
  EXPECT_THAT(integers.refusal_to_open(), HasSubstr("lm_head.weight is stored as I16, expected BF16, F16 or F32"));
}

TEST(Checkpoint, RefusesTensorsThatWouldChangeTheNetwork) {
  for (const char* name : {"model.layers.0.mlp.shared_expert.gate_proj.weight", "model.layers.0.self_attn.q_proj.bias",
                           "model.layers.0.mlp.gate.expert_bias", "model.layers.0.self_attn.q_norm.weight", "lm_head.bias",
                           "model.layers.1.input_layernorm.weight", "model.layers.0.mlp.experts.4.gate_proj.weight"}) {
    Copy copy("tests/data/plain");
    copy.tensors[name] = {"F32", {1}, std::string(4, '\0')};
    EXPECT_THAT(copy.refusal_to_open(), AllOf(HasSubstr(format("tensor {} [1] has no place", name)), HasSubstr("model.safetensors")));
  }
}

TEST(Checkpoint, ListsTensorsBesideTheNetwork) {
  Copy copy("tests/data/plain");
  copy.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {"F32", {1}, std::string(4, '\0')};
  copy.tensors["value_head.weight"] = {"I8", {4}, std::string(4, '\0')};
  copy.write();
  EXPECT_THAT(Checkpoint(copy.folder.path()).unknown_tensors(), ElementsAre("value_head.weight"));
}

/// tests/data/uneven, whose index a test can change.
class ShardedCopy {
 public:
  ShardedCopy() {
    std::filesystem::copy(source_path("tests/data/uneven"), folder.path());
    index = nlohmann::json::parse(testing::read_file(folder / kIndex));
  }
  std::string refusal_to_open() const {
    testing::write_file(folder / kIndex, index.dump());
    return refusal([this] { Checkpoint checkpoint(folder.path()); });
  }
  static constexpr const char* kIndex = "model.safetensors.index.json";
  TempFolder folder;
  nlohmann::json index;
};

TEST(CheckpointIndex, RefusesNamesThatLeadElsewhere) {
  for (const char* name : {"../model-00001-of-00002.safetensors", "/etc/passwd", "..", ".", "", "a/b", "a\\b"}) {
    ShardedCopy copy;
    copy.index["weight_map"]["lm_head.weight"] = name;
    EXPECT_THAT(copy.refusal_to_open(), AllOf(HasSubstr(ShardedCopy::kIndex), HasSubstr("lm_head.weight"), HasSubstr("plain name"))) << name;
  }
  ShardedCopy copy;
  copy.index["weight_map"]["lm_head.weight"] = 3;
  EXPECT_THAT(copy.refusal_to_open(), HasSubstr("is said to be in 3"));
}

TEST(CheckpointIndex, RefusesShardsThatAreMissingOrSayOtherwise) {
  ShardedCopy missing;
  std::filesystem::remove(missing.folder / "model-00002-of-00002.safetensors");
  EXPECT_THAT(missing.refusal_to_open(), AllOf(HasSubstr("model-00002-of-00002.safetensors"), HasSubstr("missing")));

  ShardedCopy moved;
  moved.index["weight_map"]["lm_head.weight"] = "model-00002-of-00002.safetensors";  // it is in the first
  EXPECT_THAT(moved.refusal_to_open(), AllOf(HasSubstr("model-00001-of-00002.safetensors: tensor lm_head.weight is here"),
                                             HasSubstr("in model-00002-of-00002.safetensors")));
  ShardedCopy unlisted;
  unlisted.index["weight_map"].erase("lm_head.weight");
  EXPECT_THAT(unlisted.refusal_to_open(), HasSubstr("tensor lm_head.weight is not in the weight_map"));

  ShardedCopy invented;
  invented.index["weight_map"]["model.more"] = "model-00002-of-00002.safetensors";
  EXPECT_THAT(invented.refusal_to_open(), HasSubstr("model-00002-of-00002.safetensors: tensor model.more is missing"));

  ShardedCopy twice;
  RawTensors second = testing::read_tensors(twice.folder / "model-00002-of-00002.safetensors");
  second["lm_head.weight"] = testing::read_tensors(twice.folder / "model-00001-of-00002.safetensors")["lm_head.weight"];
  testing::write_tensors(twice.folder / "model-00002-of-00002.safetensors", second);
  EXPECT_THAT(twice.refusal_to_open(), HasSubstr("model-00002-of-00002.safetensors: tensor lm_head.weight is here"));
}

TEST(CheckpointIndex, RefusesAMalformedIndex) {
  ShardedCopy copy;
  copy.index = nlohmann::json::object();
  EXPECT_THAT(copy.refusal_to_open(), HasSubstr("weight_map"));
  copy.index["weight_map"] = nlohmann::json::object();
  EXPECT_THAT(copy.refusal_to_open(), HasSubstr("names 0 files"));
  copy.index = nlohmann::json::array();
  EXPECT_THAT(copy.refusal_to_open(), HasSubstr("expected an object"));
}

TEST(Checkpoint, RefusesFoldersWithoutSafetensors) {
  const TempFolder folder;
  EXPECT_THAT(refusal([&] { Checkpoint checkpoint(folder.path()); }), HasSubstr("config.json"));
  std::filesystem::copy_file(source_path("tests/data/plain/config.json"), folder / "config.json");
  EXPECT_THAT(refusal([&] { Checkpoint checkpoint(folder.path()); }), HasSubstr("found neither"));
  testing::write_file(folder / "pytorch_model.bin", "PK");
  EXPECT_THAT(refusal([&] { Checkpoint checkpoint(folder.path()); }), AllOf(HasSubstr("pytorch_model.bin"), HasSubstr("convert")));
}

TEST(Checkpoint, TheFingerprintTellsCheckpointsApart) {
  Copy copy("tests/data/plain");
  copy.write();
  const auto fingerprint = [&] { return Checkpoint(copy.folder.path()).fingerprint(); };
  const std::string first = fingerprint();
  EXPECT_EQ(fingerprint(), first);
  EXPECT_EQ(first.size(), 32U);
  copy.set_config("rope_theta", 10001.0);
  const std::string other_config = fingerprint();
  EXPECT_NE(other_config, first);
  RawTensor& norm = copy.tensors["model.norm.weight"];
  norm = testing::stored_as(norm, "F32");
  copy.write();
  EXPECT_NE(fingerprint(), other_config);
}

TEST(Checkpoint, TheFingerprintOfWeightsTellsTheSameShapesApart) {
  Copy copy("tests/data/plain");
  copy.write();
  const auto opened = [&] { return Checkpoint(copy.folder.path()); };
  const std::string shapes = opened().fingerprint(), weights = opened().fingerprint_of_weights();
  EXPECT_EQ(opened().fingerprint_of_weights(), weights);
  auto& bytes = copy.tensors["lm_head.weight"].bytes;
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  copy.write();
  EXPECT_EQ(opened().fingerprint(), shapes);
  EXPECT_NE(opened().fingerprint_of_weights(), weights);
}

}  // namespace
}  // namespace unmask::runtime
