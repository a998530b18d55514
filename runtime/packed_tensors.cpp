// SPDX-License-Identifier: Apache-2.0
#include "runtime/packed_tensors.h"

#include "base/error.h"
#include "experts/quantised.h"
#include "runtime/safetensors.h"
#include "runtime/strict_json.h"

namespace unmask::runtime {
namespace {

std::int64_t extent(const std::vector<std::uint64_t>& shape, std::size_t i) { return narrow<std::int64_t>(shape.at(i)); }

experts::WeightType type_of(std::string_view form) { return form == "int8" ? experts::WeightType::kInt8 : experts::WeightType::kInt4; }

}  // namespace

std::string packed_form(const TensorSlot& slot, experts::WeightType type) {
  switch (slot.kind) {
    case TensorKind::kEmbedding:
    case TensorKind::kRouter: return "rows";
    case TensorKind::kFinalNorm:
    case TensorKind::kInputNorm:
    case TensorKind::kPostAttentionNorm:
    case TensorKind::kQNorm:
    case TensorKind::kKNorm: return "f32";
    case TensorKind::kHead:
    case TensorKind::kQuery:
    case TensorKind::kKey:
    case TensorKind::kValue:
    case TensorKind::kOutput: return "panels";
    case TensorKind::kGate:
    case TensorKind::kUp:
    case TensorKind::kDown: return type == experts::WeightType::kBf16 ? "panels" : std::string(experts::name_of(type));
    case TensorKind::kFusedGateUp:
    case TensorKind::kFusedDown: break;
  }
  UNMASK_CHECK(false, "slot {} of kind {}", slot.name, static_cast<int>(slot.kind));
}

std::uint64_t packed_unit_bytes(std::string_view form, const std::vector<std::uint64_t>& shape) {
  if (form == "f32") {
    return sizeof(float);
  }
  const std::int64_t cols = extent(shape, 1);
  if (form == "rows") {
    return static_cast<std::uint64_t>(cols) * sizeof(bfloat16);
  }
  return static_cast<std::uint64_t>(form == "panels" ? experts::panel_elements(cols) * static_cast<std::int64_t>(sizeof(bfloat16))
                                                     : experts::quantised_panel_bytes(type_of(form), cols));
}

std::uint64_t packed_bytes(std::string_view form, const std::vector<std::uint64_t>& shape) {
  const std::int64_t rows = extent(shape, 0);
  const bool is_in_panels = form != "f32" && form != "rows";
  return static_cast<std::uint64_t>(is_in_panels ? experts::whole(rows, experts::kPanelRows) : rows) * packed_unit_bytes(form, shape);
}

experts::WeightType packed_type(const PackedHeader& header) {
  return header.dtype == "bf16" ? experts::WeightType::kBf16 : type_of(header.dtype);
}

void check_packed_tensors(const PackedFile& file, const ModelConfig& config) {
  const std::string name = file.file().path().string();
  std::size_t num_tensors = 0;
  visit_tensors(config, [](std::int64_t) { return ExpertForm::kSeparate; }, [&](const TensorSlot& slot) {
    const PackedEntry* entry = file.find(slot.name);
    require(entry != nullptr, ExitCode::kBadInput, "{}: tensor {} is missing: its config.json asks for it with shape {}; pack the checkpoint again",
            name, slot.name, shape_text(slot.shape));
    const std::string form = packed_form(slot, packed_type(file.header()));
    require(entry->form == form && entry->shape == slot.shape, ExitCode::kBadInput,
            "{}: tensor {} is {} of shape {}, expected {} of shape {} by its dtype and config.json; pack the checkpoint again", name, slot.name,
            entry->form, shape_text(entry->shape), form, shape_text(slot.shape));
    const std::uint64_t bytes = packed_bytes(form, slot.shape);
    const std::uint64_t unit = packed_unit_bytes(form, slot.shape);
    require(entry->bytes == bytes && entry->block_bytes % unit == 0, ExitCode::kBadInput,
            "{}: tensor {} has {} bytes in blocks of {}, expected {} in blocks of a multiple of {}; pack the checkpoint again", name, slot.name,
            entry->bytes, entry->block_bytes, bytes, unit);
    ++num_tensors;
  });
  for (const auto& [other, entry] : file.header().entries) {
    num_tensors += entry.form == "file" ? 1U : 0U;
  }
  require(num_tensors == file.header().entries.size(), ExitCode::kBadInput,
          "{}: {} entries have no place in the network that its config.json describes; pack the checkpoint again", name,
          file.header().entries.size() - num_tensors);
}

}  // namespace unmask::runtime
