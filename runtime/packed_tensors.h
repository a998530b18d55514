// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "experts/matrix.h"
#include "runtime/packed_file.h"
#include "runtime/tensor_slots.h"

namespace unmask::runtime {

/// In which form a packed model whose experts are of `type` holds the tensor of a slot: "f32" norms; "rows": what is looked up or
/// multiplied unrounded; "panels" (Layout::kPanels), "int8" and "int4" (Layout::kQuantised): large products.
std::string packed_form(const TensorSlot& slot, experts::WeightType type);

/// The smallest pieces of a form that make sense by themselves: a value, a row, a panel.
std::uint64_t packed_unit_bytes(std::string_view form, const std::vector<std::uint64_t>& shape);

/// All bytes of a tensor in this form.
std::uint64_t packed_bytes(std::string_view form, const std::vector<std::uint64_t>& shape);

/// The type of the experts by the header's word.
experts::WeightType packed_type(const PackedHeader& header);

/// Throws Error(kBadInput) unless the file holds exactly the tensors of this network, each in its form.
void check_packed_tensors(const PackedFile& file, const ModelConfig& config);

}  // namespace unmask::runtime
