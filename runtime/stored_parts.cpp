// SPDX-License-Identifier: Apache-2.0
#include "runtime/stored_parts.h"

#include <bit>

#include "base/error.h"

namespace unmask::runtime {
namespace {

using VisitPart = std::function<void(const TensorSlot&, const StoredPart&)>;

/// The slots of one expert inside those of a layer.
struct FusedExpert {
  std::int64_t layer;
  ExpertId expert;
  StoredPart whole;  ///< the fused tensor

  void visit(const VisitPart& visit, TensorKind kind, std::int64_t first, std::int64_t rows, std::int64_t cols) const {
    visit({kind, layer, expert, expert_tensor_name(kind, layer, expert), {size(rows), size(cols)}}, whole.piece(first, rows * cols));
  }
};

}  // namespace

StoredPart StoredPart::piece(std::int64_t first, std::int64_t num) const {
  StoredPart result = *this;
  result.begin += static_cast<std::uint64_t>(first) * bytes_of(type);
  result.first_element += first;
  result.num_elements = num;
  return result;
}

void visit_parts(const Checkpoint::Impl& checkpoint, const VisitPart& visit) {
  const std::int64_t hidden = checkpoint.config.hidden;
  const std::int64_t width = checkpoint.config.expert_width;
  checkpoint.visit([&](const TensorSlot& slot) {
    const auto& place = *checkpoint.tensors.find(slot.name);
    std::int64_t num_elements = 1;
    for (const std::uint64_t extent : slot.shape) {
      num_elements *= narrow<std::int64_t>(extent);
    }
    const StoredPart whole{.file = place.file, .tensor = slot.name, .type = *float_type(*place.tensor), .begin = place.tensor->begin,
                           .first_element = 0, .num_elements = num_elements};
    if (slot.kind != TensorKind::kFusedGateUp && slot.kind != TensorKind::kFusedDown) {
      return visit(slot, whole);
    }
    for (ExpertId e(0); e.value < checkpoint.config.num_experts; ++e) {
      const FusedExpert expert{slot.layer, e, whole};
      if (slot.kind == TensorKind::kFusedDown) {
        expert.visit(visit, TensorKind::kDown, e.value * hidden * width, hidden, width);
      } else {
        expert.visit(visit, TensorKind::kGate, e.value * 2 * width * hidden, width, hidden);
        expert.visit(visit, TensorKind::kUp, (e.value * 2 + 1) * width * hidden, width, hidden);
      }
    }
  });
}

std::optional<std::int64_t> read_values(const StoredPart& part, Staging& staging, std::span<bfloat16> values) {
  if (part.type == FloatType::kBf16) {
    part.file->file.read(part.begin, std::as_writable_bytes(values));
    return find_not_finite(values);
  }
  staging.stored.grow(narrow<std::int64_t>(part.num_bytes()));
  const auto stored = staging.stored.span().first(part.num_bytes());
  part.file->file.read(part.begin, stored);
  return convert(part.type, stored, values);
}

std::optional<std::int64_t> read_values(const StoredPart& part, Staging& staging, std::span<float> values) {
  staging.stored.grow(narrow<std::int64_t>(part.num_bytes()));
  const auto stored = staging.stored.span().first(part.num_bytes());
  part.file->file.read(part.begin, stored);
  return convert(part.type, stored, values);
}

void refuse_value(const StoredPart& part, std::int64_t position) {
  std::uint32_t bits = 0;
  const std::uint64_t bytes = bytes_of(part.type);
  part.file->file.read(part.begin + static_cast<std::uint64_t>(position) * bytes,
                       std::as_writable_bytes(std::span(&bits, 1)).first(bytes));
  const auto half = static_cast<std::uint16_t>(bits);
  const float value = part.type == FloatType::kF32   ? std::bit_cast<float>(bits)
                      : part.type == FloatType::kF16 ? float_of_half(half)
                                                     : to_float(bfloat16{half});
  fail(ExitCode::kBadInput, "{}: tensor {}, element {} is {}: expected finite numbers that fit into bfloat16",
       part.file->file.path().string(), part.tensor, part.first_element + position, value);
}

}  // namespace unmask::runtime
