// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint.h"

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "experts/quantised.h"
#include "runtime/checkpoint_impl.h"
#include "runtime/fingerprint.h"
#include "runtime/strict_json.h"

namespace unmask::runtime {
namespace {

void check_tensor(const TensorSlot& slot, const CheckpointFiles::Place* place, const std::filesystem::path& folder) {
  require(place != nullptr, ExitCode::kBadInput, "{}: tensor {} is missing: config.json asks for it with shape {}",
          folder.string(), slot.name, shape_text(slot.shape));
  const std::string file = place->file->file.path().string();
  require(place->tensor->shape == slot.shape, ExitCode::kBadInput, "{}: tensor {} has shape {}, expected {} by config.json",
          file, slot.name, shape_text(place->tensor->shape), shape_text(slot.shape));
  require(float_type(*place->tensor).has_value(), ExitCode::kBadInput, "{}: tensor {} is stored as {}, expected BF16, F16 or F32",
          file, slot.name, place->tensor->dtype.name);
}

/// Tensors that no part of the network asks for: a buffer that can be computed is harmless; anything else inside the network
/// would have changed the forward pass, and is refused; what stands beside the network is only listed.
std::vector<std::string> check_other_tensors(const CheckpointFiles& files, const std::unordered_set<std::string>& wanted) {
  std::vector<std::string> unknown;
  for (const auto& file : files.files) {
    for (const auto& [name, tensor] : file->tensors) {
      if (wanted.contains(name) || name.ends_with("rotary_emb.inv_freq")) {
        continue;
      }
      require(!name.starts_with("model.") && !name.starts_with("lm_head."), ExitCode::kBadInput,
              "{}: tensor {} {} has no place in the network that config.json describes, and would change it if it had one: "
              "this checkpoint needs a feature that is not supported, or another config.json",
              file->file.path().string(), printable(name), shape_text(tensor.shape));
      unknown.push_back(printable(name));
    }
  }
  return unknown;
}

std::string fingerprint_of(std::string_view config, const CheckpointFiles& files) {
  Fingerprint fingerprint;
  fingerprint.add(config);
  for (const auto& file : files.files) {
    fingerprint.add(file->file.path().filename().string());
    fingerprint.add_number(file->file.num_bytes());
    fingerprint.add(file->header);
  }
  return fingerprint.text();
}

}  // namespace

std::optional<FloatType> float_type(const StoredTensor& tensor) {
  const std::string_view name = tensor.dtype.name;
  return name == "BF16"  ? std::optional(FloatType::kBf16)
         : name == "F16" ? std::optional(FloatType::kF16)
         : name == "F32" ? std::optional(FloatType::kF32)
                         : std::nullopt;
}

Checkpoint::Checkpoint(const std::filesystem::path& folder) : impl_(std::make_unique<Impl>()) {
  require_model_folder(folder);
  const auto config_path = folder / "config.json";
  const std::string config = read_text_file(config_path, kMaxConfigBytes);
  impl_->folder = folder;
  impl_->config = parse_model_config(config, config_path.string());
  impl_->files = open_checkpoint_files(folder);
  for (std::int64_t layer = 0; layer < impl_->config.num_layers; ++layer) {
    const bool is_fused = impl_->files.find(fused_name(layer)) != nullptr;
    impl_->expert_forms.push_back(is_fused ? ExpertForm::kFused : ExpertForm::kSeparate);
  }
  std::unordered_set<std::string> wanted;
  impl_->visit([&](const TensorSlot& slot) {
    check_tensor(slot, impl_->files.find(slot.name), folder);
    wanted.insert(slot.name);
  });
  impl_->unknown_tensors = check_other_tensors(impl_->files, wanted);
  impl_->fingerprint = fingerprint_of(config, impl_->files);
}

Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;

const ModelConfig& Checkpoint::config() const { return impl_->config; }
const std::filesystem::path& Checkpoint::folder() const { return impl_->folder; }
std::string Checkpoint::fingerprint() const { return impl_->fingerprint; }
const std::vector<std::string>& Checkpoint::unknown_tensors() const { return impl_->unknown_tensors; }

std::uint64_t weight_bytes(const ModelConfig& c, const cluster::Placement& placement, Rank rank, experts::WeightType expert_type) {
  const std::int64_t of_one_expert = 3 * c.hidden * c.expert_width;
  const std::int64_t held = c.num_layers * static_cast<std::int64_t>(placement.held_by(rank).size());
  const std::int64_t expert_bytes = 2 * experts::stored_bytes(expert_type, c.expert_width, c.hidden) +
                                    experts::stored_bytes(expert_type, c.hidden, c.expert_width);
  const std::int64_t of_norms = c.hidden + c.num_layers * (2 * c.hidden + (c.qk_norm ? 2 * c.head_dim : 0));
  const std::int64_t of_shared_matrices = c.num_parameters() - of_norms - c.num_layers * c.num_experts * of_one_expert;
  return static_cast<std::uint64_t>(of_shared_matrices) * sizeof(bfloat16) + static_cast<std::uint64_t>(held * expert_bytes) +
         static_cast<std::uint64_t>(of_norms) * sizeof(float);
}

std::uint64_t Checkpoint::tensor_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& file : impl_->files.files) {
    for (const auto& [name, tensor] : file->tensors) {
      sum += tensor.num_bytes();
    }
  }
  return sum;
}

}  // namespace unmask::runtime
