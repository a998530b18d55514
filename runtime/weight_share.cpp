// SPDX-License-Identifier: Apache-2.0
#include "runtime/weight_share.h"

#include "base/error.h"
#include "runtime/tensor_slots.h"

namespace unmask::runtime {
namespace {

constexpr std::int64_t kPageBytes = 4096;
constexpr std::uint64_t kPartBytes = 4 << 20;

/// Huge pages do not mind where a matrix ends.
std::size_t room_of(std::int64_t rows, std::int64_t cols) {
  return size(experts::whole(experts::Matrix::memory_bytes(rows, cols), kPageBytes) * kPageBytes);
}

bool is_needed_by_all(TensorKind kind) {
  switch (kind) {
    case TensorKind::kEmbedding:
    case TensorKind::kHead:
    case TensorKind::kQuery:
    case TensorKind::kKey:
    case TensorKind::kValue:
    case TensorKind::kOutput:
    case TensorKind::kRouter: return true;
    case TensorKind::kFinalNorm:
    case TensorKind::kInputNorm:
    case TensorKind::kPostAttentionNorm:
    case TensorKind::kQNorm:
    case TensorKind::kKNorm:
    case TensorKind::kGate:
    case TensorKind::kUp:
    case TensorKind::kDown:
    case TensorKind::kFusedGateUp:
    case TensorKind::kFusedDown: break;
  }
  return false;
}

}  // namespace

std::uint64_t shared_memory_bytes(const ModelConfig& config) {
  std::uint64_t sum = 0;
  visit_tensors(config, [](std::int64_t) { return ExpertForm::kSeparate; }, [&](const TensorSlot& slot) {
    sum += is_needed_by_all(slot.kind) ? room_of(narrow<std::int64_t>(slot.shape[0]), narrow<std::int64_t>(slot.shape[1])) : 0;
  });
  return sum;
}

experts::Matrix SharedPlaces::next(std::int64_t rows, std::int64_t cols, experts::Layout layout) {
  if (share_.memory == nullptr) {
    return layout == experts::Layout::kPanels ? experts::Matrix::in_panels(rows, cols) : experts::Matrix(rows, cols);
  }
  const std::size_t room = room_of(rows, cols);
  const auto memory = share_.memory->bytes();
  UNMASK_CHECK(room <= memory.size() - used_, "{} of {} bytes are used, {} x {} more are asked for", used_, memory.size(), rows, cols);
  auto* place = reinterpret_cast<bfloat16*>(memory.data() + used_);
  used_ += room;
  return experts::Matrix::at(place, rows, cols, layout);
}

bool SharedParts::is_mine(std::uint64_t bytes) {
  const auto part = static_cast<std::int64_t>(dealt_bytes_ / kPartBytes) % share_.num_parts;
  dealt_bytes_ += bytes;
  return part == share_.part;
}

}  // namespace unmask::runtime
