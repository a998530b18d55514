// SPDX-License-Identifier: Apache-2.0
#include "bench/make_checkpoint_writer.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/aligned_buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "bench/make_checkpoint_values.h"
#include "runtime/input_file.h"
#include "runtime/model_config.h"
#include "runtime/output_file.h"
#include "runtime/tensor_slots.h"

namespace unmask::bench {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kHeaderAlignment = 64;  // of the data behind it
constexpr std::int64_t kChunkValues = 2 << 20;

struct Tensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  RandomTensor values;
  std::int64_t num_values = 0;
  std::uint64_t begin = 0;  ///< in its shard's data

  std::uint64_t num_bytes() const { return static_cast<std::uint64_t>(num_values) * sizeof(bfloat16); }
};

struct Shard {
  std::string name;
  std::vector<Tensor> tensors;
  std::uint64_t data_bytes = 0;
};

std::vector<Shard> plan_shards(const runtime::ModelConfig& config, const MakeCheckpointOptions& options) {
  std::vector<Shard> shards(1);
  const auto separate = [](std::int64_t) { return runtime::ExpertForm::kSeparate; };
  runtime::visit_tensors(config, separate, [&](const runtime::TensorSlot& slot) {
    Tensor tensor{.name = slot.name, .shape = slot.shape, .values = random_tensor(slot, options.seed), .num_values = 1};
    for (const std::uint64_t extent : slot.shape) {
      tensor.num_values *= narrow<std::int64_t>(extent);  // the config's product of everything is bounded
    }
    if (shards.back().data_bytes > 0 && shards.back().data_bytes + tensor.num_bytes() > options.shard_bytes) {
      shards.emplace_back();
    }
    tensor.begin = shards.back().data_bytes;
    shards.back().data_bytes += tensor.num_bytes();
    shards.back().tensors.push_back(std::move(tensor));
  });
  require(shards.size() < 10'000, ExitCode::kUsage, "--shard-bytes {} gives {} files, expected fewer than 10000",
          options.shard_bytes, shards.size());
  for (std::size_t i = 0; i < shards.size(); ++i) {
    shards[i].name =
        shards.size() == 1 ? "model.safetensors" : format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
  }
  return shards;
}

/// The length, the header, and spaces up to the alignment.
std::string header_of(const Shard& shard) {
  json header = {{"__metadata__", {{"format", "pt"}}}};
  for (const Tensor& tensor : shard.tensors) {
    header[tensor.name] = {{"dtype", "BF16"}, {"shape", tensor.shape}, {"data_offsets", {tensor.begin, tensor.begin + tensor.num_bytes()}}};
  }
  std::string text = header.dump();
  text.append((kHeaderAlignment - (8 + text.size()) % kHeaderAlignment) % kHeaderAlignment, ' ');
  const std::uint64_t length = text.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text;
}

struct Chunk {
  const Tensor* tensor = nullptr;
  std::int64_t first = 0;
  std::int64_t num_values = 0;
};

void write_shard(const Shard& shard, const fs::path& folder, ThreadTeam& team) {
  runtime::OutputFile file(folder / shard.name);
  const std::string header = header_of(shard);
  file.write(0, std::as_bytes(std::span(header)));
  std::vector<Chunk> chunks;
  for (const Tensor& tensor : shard.tensors) {
    for (std::int64_t first = 0; first < tensor.num_values; first += kChunkValues) {
      chunks.push_back({&tensor, first, std::min(kChunkValues, tensor.num_values - first)});
    }
  }
  std::atomic<std::size_t> next = 0;
  team.run([&](int) {
    AlignedBuffer<bfloat16> values(kChunkValues);
    for (auto i = next.fetch_add(1); i < chunks.size(); i = next.fetch_add(1)) {
      const auto& [tensor, first, num_values] = chunks[i];
      const auto part = values.span().first(size(num_values));
      tensor->values.fill(first, part);
      try {
        file.write(header.size() + tensor->begin + static_cast<std::uint64_t>(first) * sizeof(bfloat16), std::as_bytes(part));
      } catch (...) {
        next = chunks.size();  // a full disk stops the other members too
        throw;
      }
    }
  });
  file.commit();
}

void write_text(const fs::path& path, std::string_view text) {
  runtime::OutputFile file(path);
  file.write(0, std::as_bytes(std::span(text)));
  file.commit();
}

std::string index_of(const std::vector<Shard>& shards, std::uint64_t total_bytes) {
  json weight_map = json::object();
  for (const Shard& shard : shards) {
    for (const Tensor& tensor : shard.tensors) {
      weight_map[tensor.name] = shard.name;
    }
  }
  return json{{"metadata", {{"total_size", total_bytes}}}, {"weight_map", std::move(weight_map)}}.dump(1) + "\n";
}

/// Makes the folder. One that holds files already might mix old and new shards.
void prepare_folder(const fs::path& folder, std::uint64_t bytes_needed) {
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error && fs::is_directory(folder), ExitCode::kIo, "{}: the folder cannot be made: {}", folder.string(),
          error ? error.message() : "something else has this name");
  require(fs::is_empty(folder), ExitCode::kUsage, "{}: expected an empty or a new folder, found files in it", folder.string());
  const fs::space_info space = fs::space(folder, error);
  require(error || space.available > bytes_needed, ExitCode::kIo,
          "{}: the checkpoint needs {} bytes, but only {} are free on that disk", folder.string(), bytes_needed, space.available);
}

}  // namespace

void make_checkpoint(const MakeCheckpointOptions& options, ThreadTeam& team, const std::function<void(std::string_view)>& tell) {
  const std::string config_text = runtime::read_text_file(options.config, runtime::kMaxConfigBytes);
  const auto shards = plan_shards(runtime::parse_model_config(config_text, options.config.string()), options);
  std::uint64_t total_bytes = 0;
  for (const Shard& shard : shards) {
    total_bytes += shard.data_bytes;
  }
  prepare_folder(options.output, total_bytes);
  try {
    for (const Shard& shard : shards) {
      const Stopwatch watch;
      write_shard(shard, options.output, team);
      const double gigabytes = static_cast<double>(shard.data_bytes) / 1e9;
      tell(format("{}: {} tensors, {:.2f} GB, {:.2f} GB/s", shard.name, shard.tensors.size(), gigabytes, gigabytes / watch.seconds()));
    }
    if (shards.size() > 1) {
      write_text(options.output / "model.safetensors.index.json", index_of(shards, total_bytes));
    }
    write_text(options.output / "config.json", config_text);
  } catch (...) {  // the folder was empty: all that is in it is ours
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(options.output, ignored)) {
      fs::remove(entry.path(), ignored);
    }
    throw;
  }
}

}  // namespace unmask::bench
