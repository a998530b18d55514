// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint.h"

#include <algorithm>
#include <span>
#include <unordered_set>

#include "base/error.h"
#include "experts/quantised.h"
#include "runtime/checkpoint_impl.h"
#include "runtime/fingerprint.h"
#include "runtime/packed_tensors.h"
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

void open_folder(Checkpoint::Impl& impl, std::string_view config) {
  impl.tensors = open_checkpoint_files(impl.files.path());
  for (std::int64_t layer = 0; layer < impl.config.num_layers; ++layer) {
    const bool is_fused = impl.tensors.find(fused_name(layer)) != nullptr;
    impl.expert_forms.push_back(is_fused ? ExpertForm::kFused : ExpertForm::kSeparate);
  }
  std::unordered_set<std::string> wanted;
  impl.visit([&](const TensorSlot& slot) {
    check_tensor(slot, impl.tensors.find(slot.name), impl.files.path());
    wanted.insert(slot.name);
  });
  impl.unknown_tensors = check_other_tensors(impl.tensors, wanted);
  impl.fingerprint = fingerprint_of(config, impl.tensors);
}

void open_packed(Checkpoint::Impl& impl) {
  const PackedFile& file = *impl.files.packed();
  check_packed_tensors(file, impl.config);
  impl.expert_forms.assign(size(impl.config.num_layers), ExpertForm::kSeparate);
  impl.expert_type = packed_type(file.header());
  impl.fingerprint = file.fingerprint();
}

}  // namespace

std::optional<FloatType> float_type(const StoredTensor& tensor) {
  const std::string_view name = tensor.dtype.name;
  return name == "BF16"  ? std::optional(FloatType::kBf16)
         : name == "F16" ? std::optional(FloatType::kF16)
         : name == "F32" ? std::optional(FloatType::kF32)
                         : std::nullopt;
}

Checkpoint::Checkpoint(const ModelFiles& files) : impl_(std::make_unique<Impl>(Impl{.files = files})) {
  const std::string config = files.read("config.json", kMaxConfigBytes);
  impl_->config = parse_model_config(config, files.name_of("config.json"));
  if (files.packed() == nullptr) {
    open_folder(*impl_, config);
  } else {
    open_packed(*impl_);
  }
}

Checkpoint::~Checkpoint() = default;
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;

const ModelConfig& Checkpoint::config() const { return impl_->config; }
const ModelFiles& Checkpoint::files() const { return impl_->files; }
experts::WeightType Checkpoint::expert_type() const { return impl_->expert_type; }
std::string Checkpoint::fingerprint() const { return impl_->fingerprint; }

std::string Checkpoint::fingerprint_of_weights() const {
  if (impl_->files.packed() != nullptr) {
    return impl_->fingerprint;
  }
  constexpr std::uint64_t kSampleBytes = 64;
  Fingerprint weights;
  std::string sample;
  impl_->visit([&](const TensorSlot& slot) {
    const CheckpointFiles::Place& place = *impl_->tensors.find(slot.name);
    sample.resize(std::min(kSampleBytes, place.tensor->num_bytes()));
    place.file->file.read(place.tensor->begin + (place.tensor->num_bytes() - sample.size()) / 2, std::as_writable_bytes(std::span(sample)));
    weights.add(sample);
  });
  return weights.text();
}

const std::vector<std::string>& Checkpoint::unknown_tensors() const { return impl_->unknown_tensors; }

namespace {

std::int64_t elements_of_norms(const ModelConfig& c) { return c.hidden + c.num_layers * (2 * c.hidden + (c.qk_norm ? 2 * c.head_dim : 0)); }

}  // namespace

std::uint64_t shared_weight_bytes(const ModelConfig& c) {
  const std::int64_t of_experts = c.num_layers * c.num_experts * 3 * c.hidden * c.expert_width;
  return static_cast<std::uint64_t>(c.num_parameters() - elements_of_norms(c) - of_experts) * sizeof(bfloat16);
}

std::uint64_t weight_bytes(const ModelConfig& c, const cluster::Placement& placement, Rank rank, experts::WeightType expert_type) {
  const std::int64_t held = c.num_layers * static_cast<std::int64_t>(placement.held_by(rank).size());
  const std::int64_t expert_bytes = 2 * experts::stored_bytes(expert_type, c.expert_width, c.hidden) +
                                    experts::stored_bytes(expert_type, c.hidden, c.expert_width);
  return shared_weight_bytes(c) + static_cast<std::uint64_t>(held * expert_bytes) +
         static_cast<std::uint64_t>(elements_of_norms(c)) * sizeof(float);
}

void Checkpoint::require_type(experts::WeightType type) const {
  const experts::WeightType stored = impl_->expert_type;
  require(type == stored || stored == experts::WeightType::kBf16, ExitCode::kBadInput,
          "{}: expected {} experts, found a model packed in {}: leave --dtype out, or pack the checkpoint in bf16", impl_->files.path().string(),
          experts::name_of(type), experts::name_of(stored));
}

LoadResult Checkpoint::load(const cluster::Placement& placement, Rank rank, ThreadTeam& team, const LoadOptions& options) const {
  const std::string name = impl_->files.path().string();
  require(placement.num_experts() == impl_->config.num_experts, ExitCode::kUsage,
          "the placement is for {} experts, but {} has {} in each layer", placement.num_experts(), name, impl_->config.num_experts);
  require(rank.value >= 0 && rank.value < placement.num_ranks(), ExitCode::kUsage, "rank {} is not one of the placement's {}",
          rank, placement.num_ranks());
  require_type(options.expert_type);
  try {
    return impl_->files.packed() == nullptr ? load_from_folder(*impl_, placement, rank, team, options)
                                            : load_from_packed(*impl_, placement, rank, team, options);
  } catch (const std::bad_alloc&) {
    fail(ExitCode::kBadInput, "{}: not enough memory for the {} bytes of weights of rank {}: use more ranks, on more hosts", name,
         weight_bytes(impl_->config, placement, rank, options.expert_type), rank);
  }
}

std::uint64_t Checkpoint::tensor_bytes() const {
  std::uint64_t sum = 0;
  if (const PackedFile* packed = impl_->files.packed()) {
    for (const auto& [name, entry] : packed->header().entries) {
      sum += entry.form == "file" ? 0 : entry.bytes;
    }
  }
  for (const auto& file : impl_->tensors.files) {
    for (const auto& [name, tensor] : file->tensors) {
      sum += tensor.num_bytes();
    }
  }
  return sum;
}

}  // namespace unmask::runtime
