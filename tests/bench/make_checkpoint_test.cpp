// SPDX-License-Identifier: Apache-2.0
#include <sys/wait.h>

#include <cmath>
#include <cstdlib>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "bench/make_checkpoint_values.h"
#include "bench/make_checkpoint_writer.h"
#include "runtime/checkpoint.h"
#include "tests/runtime/checkpoint_fixture.h"

namespace unmask::bench {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using runtime::testing::RawTensors;
using runtime::testing::source_path;
using runtime::testing::TempFolder;

const char* const kConfig = "tests/data/uneven/config.json";

std::vector<std::string> make(const fs::path& output, std::uint64_t seed, std::uint64_t shard_bytes, int threads) {
  ThreadTeam team(threads);
  std::vector<std::string> lines;
  make_checkpoint({.config = source_path(kConfig), .output = output, .seed = seed, .shard_bytes = shard_bytes}, team,
                  [&](std::string_view line) { lines.emplace_back(line); });
  return lines;
}

/// Name and bytes of every file.
std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    files[entry.path().filename().string()] = runtime::testing::read_file(entry.path());
  }
  return files;
}

TEST(MakeCheckpoint, WritesWhatTheRuntimeLoads) {
  const TempFolder folder;
  EXPECT_EQ(make(folder / "one", 7, 5'000'000'000, 2).size(), 1U);
  const std::size_t told = make(folder / "many", 7, 300'000, 2).size();
  EXPECT_EQ(told + 2, files_of(folder / "many").size());  // index and config
  EXPECT_TRUE(fs::exists(folder / "one/model.safetensors"));
  EXPECT_TRUE(fs::exists(folder / "many/model-00001-of-00007.safetensors"));
  for (const char* name : {"one", "many"}) {
    const runtime::Checkpoint checkpoint(folder / name);
    EXPECT_EQ(checkpoint.tensor_bytes(), static_cast<std::uint64_t>(checkpoint.config().num_parameters()) * 2);
    ThreadTeam team(2);
    const auto placement = cluster::Placement::even(11, 2);
    EXPECT_EQ(checkpoint.load(placement, Rank(1), team).num_rounded, 0U);
    EXPECT_EQ(runtime::testing::read_file(folder / name / "config.json"), runtime::testing::read_file(source_path(kConfig)));
  }
  const auto index = nlohmann::json::parse(runtime::testing::read_file(folder / "many/model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], runtime::Checkpoint(folder / "many").tensor_bytes());
  const RawTensors one = runtime::testing::read_folder(folder / "one");
  const RawTensors many = runtime::testing::read_folder(folder / "many");
  ASSERT_EQ(one.size(), many.size());
  for (const auto& [tensor, raw] : one) {
    EXPECT_EQ(raw.bytes, many.at(tensor).bytes) << tensor;  // the values do not depend on the sharding
  }
}

TEST(MakeCheckpoint, DependsOnTheSeedAloneNotOnThreads) {
  const TempFolder folder;
  make(folder / "a", 1, 300'000, 1);
  make(folder / "b", 1, 300'000, 3);
  make(folder / "c", 2, 300'000, 1);
  const auto a = files_of(folder / "a");
  EXPECT_EQ(a, files_of(folder / "b"));
  const auto c = files_of(folder / "c");
  for (const auto& [name, bytes] : a) {
    EXPECT_EQ(bytes != c.at(name), name.ends_with(".safetensors")) << name;
  }
}

TEST(MakeCheckpoint, EveryTensorIsAnotherAndScaled) {
  const TempFolder folder;
  make(folder / "x", 3, 5'000'000'000, 2);
  std::set<std::string> seen;
  for (const auto& [name, tensor] : runtime::testing::read_folder(folder / "x")) {
    EXPECT_TRUE(seen.insert(tensor.bytes.substr(0, 32)).second) << name << " starts like another tensor";
    const std::vector<double> values = runtime::testing::values_of(tensor);
    const auto count = static_cast<double>(values.size());
    double mean = 0;
    double square = 0;
    for (const double value : values) {
      mean += value / count;
      square += value * value / count;
    }
    if (tensor.shape.size() == 1) {
      EXPECT_NEAR(mean, 1, 0.06) << name;
    } else {
      const double expected = name == "model.embed_tokens.weight" ? 1.0 : 1 / std::sqrt(static_cast<double>(tensor.shape[1]));
      EXPECT_NEAR(mean, 0, 5 * expected / std::sqrt(count)) << name;
      EXPECT_NEAR(std::sqrt(square) / expected, 1, 5 / std::sqrt(count)) << name;
    }
  }
}

TEST(MakeCheckpoint, AnyPieceOfATensorIsTheSame) {
  const RandomTensor tensor{.seed = 5, .name_hash = 0x123456789abcdefU};
  std::vector<bfloat16> whole(100);
  tensor.fill(0, whole);
  for (std::int64_t first = 0; first < 20; ++first) {
    std::vector<bfloat16> part(13);
    tensor.fill(first, part);
    for (std::int64_t i = 0; i < 13; ++i) {
      EXPECT_EQ(part[size(i)].bits, whole[size(first + i)].bits) << first << " + " << i;
    }
  }
}

TEST(MakeCheckpoint, NeverMixesWithOlderFiles) {
  const TempFolder folder;
  runtime::testing::write_file(folder / "model.safetensors", "old");
  try {
    make(folder.path(), 1, 300'000, 1);
    FAIL() << "was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ExitCode::kUsage);
    EXPECT_THAT(e.what(), HasSubstr("expected an empty or a new folder"));
  }
  EXPECT_EQ(runtime::testing::read_file(folder / "model.safetensors"), "old");
}

int exit_code(const std::string& arguments) {
  const int status = std::system((std::string(UNMASK_MAKE_CHECKPOINT) + " " + arguments + " >/dev/null 2>&1").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(MakeCheckpoint, TheProgramsExitCodesTellWhatHappened) {
  const TempFolder folder;
  const std::string output = " --output " + (folder / "x").string();
  const std::string config = "--config " + source_path(kConfig).string();
  EXPECT_EQ(exit_code(config + output + " --seed 4 --shard-bytes 500000"), 0);
  EXPECT_NO_THROW(runtime::Checkpoint(folder / "x"));
  EXPECT_EQ(exit_code(config + output), 2);                                    // not empty any more
  EXPECT_EQ(exit_code(config), 2);                                             // no folder
  EXPECT_EQ(exit_code(config + output + "y --shard-bytes 0"), 2);
  EXPECT_EQ(exit_code(config + output + "y --seed -1"), 2);
  EXPECT_EQ(exit_code("--config /absent/config.json" + output + "y"), 3);
  EXPECT_EQ(exit_code(config + " --output /dev/null/y"), 6);
  EXPECT_FALSE(fs::exists(folder / "xy"));
  EXPECT_EQ(exit_code("--help"), 0);
}

}  // namespace
}  // namespace unmask::bench
