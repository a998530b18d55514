// SPDX-License-Identifier: Apache-2.0
// Loading from safetensors files.
#include <algorithm>

#include "base/error.h"
#include "experts/quantised.h"
#include "runtime/checkpoint_plan.h"
#include "runtime/load_loop.h"

namespace unmask::runtime {
namespace {

constexpr std::uint64_t kPieceBytes = 4 << 20;  // long enough for the disk, short enough to be checked while in the cache

/// Whole panels, through a buffer of this piece alone: a quantised matrix is never in memory as bfloat16.
std::optional<std::int64_t> convert_piece(const Transfer& piece, Staging& staging) {
  staging.values.grow(piece.part.num_elements);
  if (const auto position = read_values(piece.part, staging, staging.values.span().first(size(piece.part.num_elements)))) {
    return position;
  }
  experts::Matrix& m = *piece.matrix;
  for (std::int64_t row = 0; row < piece.num_rows(); row += experts::kPanelRows) {
    const bfloat16* values = staging.values.data() + row * m.cols();
    const std::int64_t panel = (piece.first_row + row) / experts::kPanelRows;
    if (m.layout() == experts::Layout::kQuantised) {
      experts::quantise_panel(values, panel, m);
    } else {
      experts::pack_panel(values, std::min(experts::kPanelRows, piece.num_rows() - row), m.cols(), m.panel(panel));
    }
  }
  return std::nullopt;
}

std::optional<std::int64_t> read_to_matrix(const Transfer& piece, Staging& staging) {
  experts::Matrix& m = *piece.matrix;
  return m.layout() == experts::Layout::kRows ? read_values(piece.part, staging, std::span(m.row(piece.first_row), size(piece.part.num_elements)))
                                              : convert_piece(piece, staging);
}

/// Reads one piece to where it belongs.
void read_piece(const Transfer& piece, Staging& staging, const WeightShare& share) {
  if (share.memory != nullptr && piece.needed_by == NeededBy::kAllRanks) {
    share.memory->populate(piece.matrix->memory_of_rows(piece.first_row, piece.num_rows()));
  }
  const auto wrong = piece.norm != nullptr ? read_values(piece.part, staging, std::span(piece.norm, size(piece.part.num_elements)))
                                           : read_to_matrix(piece, staging);
  if (wrong) {
    refuse_value(piece.part, *wrong);
  }
}

std::uint64_t total_bytes(const std::vector<Transfer>& transfers) {
  std::uint64_t sum = 0;
  for (const Transfer& transfer : transfers) {
    sum += transfer.part.num_bytes();
  }
  return sum;
}

std::uint64_t count_rounded(const std::vector<Transfer>& transfers) {
  std::uint64_t rounded = 0;
  for (const Transfer& transfer : transfers) {
    rounded += transfer.norm == nullptr && transfer.part.type != FloatType::kBf16 ? 1 : 0;
  }
  return rounded;
}

}  // namespace

LoadResult load_from_folder(const Checkpoint::Impl& checkpoint, const cluster::Placement& placement, Rank rank, ThreadTeam& team,
                            const LoadOptions& options) {
  LoadPlan plan(checkpoint, placement, rank, options.forms());
  for (const auto& file : checkpoint.tensors.files) {
    file->file.expect_sequential_reads();
  }
  const auto pieces = cut_into_pieces(plan.transfers, kPieceBytes, options.share);
  const std::uint64_t num_bytes = total_bytes(pieces);
  const auto read = [&](std::size_t i, Staging& staging) {
    read_piece(pieces[i], staging, options.share);
    return pieces[i].part.num_bytes();
  };
  read_all({.num_pieces = pieces.size(), .num_bytes = num_bytes, .read = read}, team, options.progress);
  return {.weights = std::move(plan.weights), .bytes_read = num_bytes, .num_rounded = count_rounded(plan.transfers)};
}

}  // namespace unmask::runtime
