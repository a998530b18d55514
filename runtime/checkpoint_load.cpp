// SPDX-License-Identifier: Apache-2.0
// Loading from safetensors files.
#include <atomic>
#include <unordered_map>

#include "base/error.h"
#include "experts/quantised.h"
#include "runtime/checkpoint_plan.h"
#include "runtime/load_loop.h"

namespace unmask::runtime {
namespace {

constexpr std::uint64_t kPieceBytes = 4 << 20;  // long enough for the disk, short enough to be checked while in the cache

/// Whole panels, through a buffer of this piece alone: the matrix is never in memory as bfloat16.
std::optional<std::int64_t> quantise_piece(const Transfer& piece, Staging& staging) {
  staging.values.grow(piece.part.num_elements);
  if (const auto position = read_values(piece.part, staging, staging.values.span().first(size(piece.part.num_elements)))) {
    return position;
  }
  experts::Matrix& m = *piece.quantised;
  const std::int64_t end = piece.first_of_matrix + piece.part.num_elements;
  for (std::int64_t row = piece.first_of_matrix / m.cols(); row * m.cols() < end; row += experts::kPanelRows) {
    experts::quantise_panel(staging.values.data() + row * m.cols() - piece.first_of_matrix, row / experts::kPanelRows, m);
  }
  return std::nullopt;
}

/// Reads one piece to where it belongs.
void read_piece(const Transfer& piece, Staging& staging) {
  const auto num = size(piece.part.num_elements);
  const auto wrong = piece.quantised != nullptr ? quantise_piece(piece, staging)
                     : piece.values != nullptr ? read_values(piece.part, staging, std::span(piece.values, num))
                                               : read_values(piece.part, staging, std::span(piece.norm, num));
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

/// Packs each matrix once all of its pieces are there, by whoever read the last one.
class Packer {
 public:
  explicit Packer(const std::vector<Transfer>& pieces) {
    for (const Transfer& piece : pieces) {
      if (piece.to_pack != nullptr) {
        ++pieces_left_[piece.to_pack];
      }
    }
  }
  void piece_is_there(const Transfer& piece) {
    if (piece.to_pack != nullptr && pieces_left_.find(piece.to_pack)->second.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      piece.to_pack->pack();
    }
  }

 private:
  std::unordered_map<experts::Matrix*, std::atomic<std::int64_t>> pieces_left_;
};

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
  LoadPlan plan(checkpoint, placement, rank, {.layout = options.layout, .expert_type = options.expert_type});
  for (const auto& file : checkpoint.tensors.files) {
    file->file.expect_sequential_reads();
  }
  const auto pieces = cut_into_pieces(plan.transfers, kPieceBytes);
  const std::uint64_t num_bytes = total_bytes(plan.transfers);
  Packer packer(pieces);
  const auto read = [&](std::size_t i, Staging& staging) {
    read_piece(pieces[i], staging);
    packer.piece_is_there(pieces[i]);
    return pieces[i].part.num_bytes();
  };
  read_all({.num_pieces = pieces.size(), .num_bytes = num_bytes, .read = read}, team, options.progress);
  return {.weights = std::move(plan.weights), .bytes_read = num_bytes, .num_rounded = count_rounded(plan.transfers)};
}

}  // namespace unmask::runtime
