// SPDX-License-Identifier: Apache-2.0
#include "runtime/checkpoint_plan.h"

#include <algorithm>

#include "base/error.h"

namespace unmask::runtime {
namespace {

Transfer transfer_to(const WeightTarget& target, const TensorSlot& slot, const StoredPart& part) {
  Transfer result{.part = part};
  if (target.norm != nullptr) {
    target.norm->resize(slot.shape[0]);
    result.norm = target.norm->data();
    return result;
  }
  experts::Matrix& m = *target.matrix;
  m = experts::Matrix(narrow<std::int64_t>(slot.shape[0]), narrow<std::int64_t>(slot.shape[1]), target.type);
  if (target.layout == experts::Layout::kQuantised) {
    result.quantised = &m;
  } else {
    result.values = m.data();
    result.to_pack = target.layout == experts::Layout::kPanels ? &m : nullptr;
  }
  return result;
}

}  // namespace

LoadPlan::LoadPlan(const Checkpoint::Impl& checkpoint, const cluster::Placement& placement, Rank rank, const WeightForms& forms)
    : weights(empty_weights(checkpoint.config, placement, rank)) {
  visit_parts(checkpoint, [&](const TensorSlot& slot, const StoredPart& part) {
    const WeightTarget target = target_of(slot, placement, rank, forms, weights);
    if (target.norm != nullptr || target.matrix != nullptr) {
      transfers.push_back(transfer_to(target, slot, part));
    }
  });
}

std::vector<Transfer> cut_into_pieces(const std::vector<Transfer>& transfers, std::uint64_t max_bytes) {
  std::vector<Transfer> pieces;
  for (const Transfer& whole : transfers) {
    auto step = static_cast<std::int64_t>(max_bytes / bytes_of(whole.part.type));
    if (whole.quantised != nullptr) {
      const std::int64_t panel = experts::kPanelRows * whole.quantised->cols();
      step = std::max<std::int64_t>(1, step / panel) * panel;
    }
    for (std::int64_t done = 0; done < whole.part.num_elements; done += step) {
      Transfer piece = whole;
      piece.part = whole.part.piece(done, std::min(step, whole.part.num_elements - done));
      piece.values = whole.values == nullptr ? nullptr : whole.values + done;
      piece.norm = whole.norm == nullptr ? nullptr : whole.norm + done;
      piece.first_of_matrix = done;
      pieces.push_back(std::move(piece));
    }
  }
  std::sort(pieces.begin(), pieces.end(), [](const Transfer& a, const Transfer& b) {
    return a.part.file == b.part.file ? a.part.begin < b.part.begin : a.part.file->file.path() < b.part.file->file.path();
  });
  return pieces;
}

}  // namespace unmask::runtime
