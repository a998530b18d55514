// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint_plan.h"

#include <algorithm>

#include "base/error.h"

namespace unmask::runtime {
namespace {

Transfer transfer_to(const WeightTarget& target, const TensorSlot& slot, const StoredPart& part, SharedPlaces& places) {
  if (target.norm != nullptr) {
    target.norm->resize(slot.shape[0]);
    return {.part = part, .norm = target.norm->data()};
  }
  *target.matrix = allocate(target, slot, places);
  return {.part = part, .matrix = target.matrix, .needed_by = target.needed_by};
}

Transfer piece_of(const Transfer& whole, std::int64_t first, std::int64_t num) {
  Transfer piece = whole;
  piece.part = whole.part.piece(first, num);
  if (whole.matrix != nullptr) {
    piece.first_row = first / whole.matrix->cols();
  } else {
    piece.norm = whole.norm + first;
  }
  return piece;
}

}  // namespace

LoadPlan::LoadPlan(const Checkpoint::Impl& checkpoint, const cluster::Placement& placement, Rank rank, const WeightForms& forms)
    : weights(empty_weights(checkpoint.config, placement, rank, forms.share)) {
  SharedPlaces places(forms.share);
  visit_parts(checkpoint, [&](const TensorSlot& slot, const StoredPart& part) {
    const WeightTarget target = target_of(slot, placement, rank, forms, weights);
    if (target.norm != nullptr || target.matrix != nullptr) {
      transfers.push_back(transfer_to(target, slot, part, places));
    }
  });
}

std::vector<Transfer> cut_into_pieces(const std::vector<Transfer>& transfers, std::uint64_t max_bytes, const WeightShare& share) {
  std::vector<Transfer> pieces;
  for (const Transfer& whole : transfers) {
    auto step = static_cast<std::int64_t>(max_bytes / bytes_of(whole.part.type));
    if (whole.matrix != nullptr) {
      const std::int64_t panel = experts::kPanelRows * whole.matrix->cols();
      step = std::max<std::int64_t>(1, step / panel) * panel;
    }
    for (std::int64_t done = 0; done < whole.part.num_elements; done += step) {
      pieces.push_back(piece_of(whole, done, std::min(step, whole.part.num_elements - done)));
    }
  }
  std::sort(pieces.begin(), pieces.end(), [](const Transfer& a, const Transfer& b) {
    return a.part.file == b.part.file ? a.part.begin < b.part.begin : a.part.file->file.path() < b.part.file->file.path();
  });
  SharedParts parts(share);
  std::erase_if(pieces, [&](const Transfer& piece) { return piece.needed_by == NeededBy::kAllRanks && !parts.is_mine(piece.part.num_bytes()); });
  return pieces;
}

}  // namespace unmask::runtime
