// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/thread_team.h"
#include "cluster/placement.h"
#include "runtime/model_config.h"
#include "runtime/model_files.h"
#include "runtime/weight_targets.h"
#include "runtime/weights.h"

namespace unmask::runtime {

/// Bytes of the matrices that every rank needs: embedding, attention, routers, head. Ranks of a host may hold one copy together.
std::uint64_t shared_weight_bytes(const ModelConfig& config);

/// Bytes of weights that `rank` needs in memory under this placement (bfloat16 matrices but for the experts, float32 norms).
std::uint64_t weight_bytes(const ModelConfig& config, const cluster::Placement& placement, Rank rank,
                           experts::WeightType expert_type = experts::WeightType::kBf16);

struct LoadProgress {
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_total = 0;  ///< what this rank will read
  double seconds = 0;
};

struct LoadOptions {
  /// Of all matrices but the embedding, whose rows are looked up, and the routers, whose inputs are not rounded.
  experts::Layout layout = experts::Layout::kRows;
  experts::WeightType expert_type = experts::WeightType::kBf16;  ///< quantised while loading
  WeightShare share = {};  ///< what other ranks fill may not be there yet when load() returns
  std::function<void(const LoadProgress&)> progress = {};  ///< called from the calling thread now and then

  WeightForms forms() const { return {layout, expert_type, share}; }
};

struct LoadResult {
  ModelWeights weights;
  std::uint64_t bytes_read = 0;         ///< tensor bytes this rank read from files
  std::uint64_t num_rounded = 0;        ///< matrices stored as F16 or F32 and rounded to bfloat16
};

/// A checkpoint: a folder of config.json and model.safetensors, or model.safetensors.index.json with its shards; or a packed
/// model (packed_file.h). Opening reads and validates all headers (DESIGN.md section 8), and that every tensor the config asks for is there with its shape; no
/// tensor data is read. Per-expert tensors or dInfer's fused mlp.w1 / mlp.w2. Not safe against files changing meanwhile.
class Checkpoint {
 public:
  /// Throws Error(kBadInput) naming file, tensor, expected, found.
  explicit Checkpoint(const ModelFiles& files);
  ~Checkpoint();
  Checkpoint(Checkpoint&&) noexcept;

  const ModelConfig& config() const;
  const ModelFiles& files() const;

  /// A short text that differs whenever config, tensor names, types, shapes or file sizes differ: ranks compare it at start.
  std::string fingerprint() const;
  /// A text that also differs for weights trained further: a few values from the middle of every tensor are in it. A packed file's
  /// checksums are of all. Reads a page a tensor, of the files as they are now.
  std::string fingerprint_of_weights() const;

  /// How the experts are stored.
  experts::WeightType expert_type() const;
  /// Throws Error(kBadInput) unless experts can be held in this type: quantised ones stay what they are.
  void require_type(experts::WeightType type) const;

  /// Tensors beside the network that nothing here uses: for one warning. What would change the forward pass is refused.
  const std::vector<std::string>& unknown_tensors() const;

  /// Bytes of tensors of the whole checkpoint.
  std::uint64_t tensor_bytes() const;

  /// Reads this rank's weights with pread on all members of the team; checks that every value is finite.
  /// Throws Error(kBadInput) or Error(kIo).
  LoadResult load(const cluster::Placement& placement, Rank rank, ThreadTeam& team, const LoadOptions& options = {}) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace unmask::runtime
