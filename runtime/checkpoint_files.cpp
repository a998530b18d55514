// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint_files.h"

#include <algorithm>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "runtime/strict_json.h"

namespace unmask::runtime {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t kMaxIndexBytes = 100'000'000;
constexpr std::size_t kMaxShards = 10'000;
constexpr std::size_t kMaxFileName = 255;

using WeightMap = std::map<std::string, std::string, std::less<>>;  ///< tensor to shard

/// Whether there is something by this name, a link that leads nowhere included: opening it then says what is wrong.
bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

/// No separator, no way up: a file beside the index and nowhere else.
bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxFileName && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

WeightMap read_index(const fs::path& path) {
  const std::string file = path.string();
  const json root = parse_json_strictly(read_text_file(path, kMaxIndexBytes), file, kMaxIndexBytes);
  require(root.is_object() && root.contains("weight_map") && root["weight_map"].is_object(), ExitCode::kBadInput,
          "{}: expected an object with an object weight_map in it", file);
  WeightMap result;
  for (const auto& [tensor, shard] : root["weight_map"].items()) {
    require(shard.is_string() && is_plain_file_name(shard.get_ref<const std::string&>()), ExitCode::kBadInput,
            "{}: tensor {} is said to be in {}: expected the plain name of a file in the same folder", file, printable(tensor),
            describe(shard));
    result.emplace(tensor, shard.get<std::string>());
  }
  return result;
}

void add_file(CheckpointFiles& all, const fs::path& path) {
  all.files.push_back(std::make_unique<SafetensorsFile>(path));
  const SafetensorsFile& file = *all.files.back();
  for (const auto& [name, tensor] : file.tensors) {
    all.tensors[name] = {&file, &tensor};
  }
}

/// The index and the shards must say the same.
void check_shard(const SafetensorsFile& shard, const WeightMap& index, const fs::path& index_path) {
  const std::string shard_name = shard.file.path().filename().string();
  for (const auto& [name, tensor] : shard.tensors) {
    const auto entry = index.find(name);
    require(entry != index.end(), ExitCode::kBadInput, "{}: tensor {} is not in the weight_map of {}",
            shard.file.path().string(), printable(name), index_path.string());
    require(entry->second == shard_name, ExitCode::kBadInput, "{}: tensor {} is here, but {} says that it is in {}",
            shard.file.path().string(), printable(name), index_path.string(), printable(entry->second));
  }
}

CheckpointFiles open_shards(const fs::path& folder, const fs::path& index_path) {
  const WeightMap index = read_index(index_path);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : index) {
    shards.insert(shard);
  }
  require(!shards.empty() && shards.size() <= kMaxShards, ExitCode::kBadInput,
          "{}: the weight_map names {} files, expected 1 to {}", index_path.string(), shards.size(), kMaxShards);
  CheckpointFiles all;
  for (const std::string& shard : shards) {
    const fs::path path = folder / shard;
    require(is_there(path), ExitCode::kBadInput, "{}: the shard {} that it names is missing: copy it into the folder",
            index_path.string(), printable(shard));
    add_file(all, path);
    check_shard(*all.files.back(), index, index_path);
  }
  for (const auto& [tensor, shard] : index) {
    require(all.find(tensor) != nullptr, ExitCode::kBadInput, "{}: tensor {} is missing, though {} says that it is there",
            (folder / shard).string(), printable(tensor), index_path.string());
  }
  return all;
}

/// Why a folder without safetensors cannot be used.
[[noreturn]] void refuse_folder(const fs::path& folder) {
  for (const char* pickle : {"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth", "model.pt"}) {
    if (is_there(folder / pickle)) {
      fail(ExitCode::kBadInput,
           "{}: only a pickled checkpoint ({}) is here. Such a file can run any program when it is opened, so it never is: "
           "convert it to safetensors",
           folder.string(), pickle);
    }
  }
  fail(ExitCode::kBadInput, "{}: expected model.safetensors or model.safetensors.index.json with its shards, found neither",
       folder.string());
}

}  // namespace

const CheckpointFiles::Place* CheckpointFiles::find(std::string_view name) const {
  const auto found = tensors.find(name);
  return found == tensors.end() ? nullptr : &found->second;
}

CheckpointFiles open_checkpoint_files(const fs::path& folder) {
  const fs::path single = folder / "model.safetensors";
  const fs::path index = folder / "model.safetensors.index.json";
  if (is_there(single)) {  // before the index, as transformers does
    CheckpointFiles all;
    add_file(all, single);
    return all;
  }
  if (is_there(index)) {
    return open_shards(folder, index);
  }
  refuse_folder(folder);
}

}  // namespace unmask::runtime
