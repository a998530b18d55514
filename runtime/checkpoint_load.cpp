// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <unordered_map>

#include "base/aligned_buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "experts/quantised.h"
#include "runtime/checkpoint_plan.h"
#include "runtime/strict_json.h"

namespace unmask::runtime {
namespace {

constexpr std::uint64_t kPieceBytes = 4 << 20;  // long enough for the disk, short enough to be checked while in the cache
constexpr double kProgressSeconds = 0.5;

/// A member's own memory for values on their way.
struct Staging {
  AlignedBuffer<std::byte> stored;
  AlignedBuffer<bfloat16> values;
};

/// The piece's values as bfloat16, read to where `staging` has room.
std::optional<std::int64_t> read_values(const Transfer& piece, Staging& staging) {
  staging.values.grow(piece.num_elements);
  const std::span<bfloat16> values = staging.values.span().first(size(piece.num_elements));
  if (piece.type == FloatType::kBf16) {
    piece.file->file.read(piece.begin, std::as_writable_bytes(values));
    return find_not_finite(values);
  }
  staging.stored.grow(narrow<std::int64_t>(piece.num_bytes()));
  const auto stored = staging.stored.span().first(piece.num_bytes());
  piece.file->file.read(piece.begin, stored);
  return convert(piece.type, stored, values);
}

/// Whole panels, through a buffer of this piece alone: the matrix is never in memory as bfloat16.
std::optional<std::int64_t> quantise_piece(const Transfer& piece, Staging& staging) {
  if (const auto position = read_values(piece, staging)) {
    return position;
  }
  experts::Matrix& m = *piece.quantised;
  const std::int64_t end = piece.first_of_matrix + piece.num_elements;
  for (std::int64_t row = piece.first_of_matrix / m.cols(); row * m.cols() < end; row += experts::kPanelRows) {
    experts::quantise_panel(staging.values.data() + row * m.cols() - piece.first_of_matrix, row / experts::kPanelRows, m);
  }
  return std::nullopt;
}

/// Reads one piece to where it belongs. Returns the first position that is not finite.
std::optional<std::int64_t> read_piece(const Transfer& piece, Staging& staging) {
  const auto num = size(piece.num_elements);
  if (piece.quantised != nullptr) {
    return quantise_piece(piece, staging);
  }
  if (piece.type == FloatType::kBf16 && piece.matrix != nullptr) {
    const std::span<bfloat16> values(piece.matrix, num);
    piece.file->file.read(piece.begin, std::as_writable_bytes(values));
    return find_not_finite(values);
  }
  staging.stored.grow(narrow<std::int64_t>(piece.num_bytes()));
  const auto stored = staging.stored.span().first(piece.num_bytes());
  piece.file->file.read(piece.begin, stored);
  return piece.matrix != nullptr ? convert(piece.type, stored, std::span<bfloat16>(piece.matrix, num))
                                 : convert(piece.type, stored, std::span<float>(piece.norm, num));
}

[[noreturn]] void refuse_value(const Transfer& piece, std::int64_t position) {
  std::uint32_t bits = 0;
  const std::uint64_t bytes = bytes_of(piece.type);
  piece.file->file.read(piece.begin + static_cast<std::uint64_t>(position) * bytes,
                        std::as_writable_bytes(std::span(&bits, 1)).first(bytes));
  const auto half = static_cast<std::uint16_t>(bits);
  const float value = piece.type == FloatType::kF32   ? std::bit_cast<float>(bits)
                      : piece.type == FloatType::kF16 ? float_of_half(half)
                                                      : to_float(bfloat16{half});
  fail(ExitCode::kBadInput, "{}: tensor {}, element {} is {}: expected finite numbers that fit into bfloat16",
       piece.file->file.path().string(), piece.tensor, piece.first_element + position, value);
}

std::uint64_t total_bytes(const std::vector<Transfer>& transfers) {
  std::uint64_t sum = 0;
  for (const Transfer& transfer : transfers) {
    sum += transfer.num_bytes();
  }
  return sum;
}

/// The matrices to be packed, each once all of its pieces are there.
class Packer {
 public:
  Packer(ModelWeights& weights, const std::vector<Transfer>& pieces, experts::Layout layout) {
    if (layout == experts::Layout::kRows) {
      return;
    }
    add(weights.head);
    for (LayerWeights& layer : weights.layers) {
      for (experts::Matrix* m : {&layer.q_proj, &layer.k_proj, &layer.v_proj, &layer.o_proj}) {
        add(*m);
      }
      for (experts::Expert& expert : layer.experts) {
        add(expert.gate);
        add(expert.up);
        add(expert.down);
      }
    }
    for (const Transfer& piece : pieces) {
      if (const auto found = matrices_.find(piece.whole_matrix); found != matrices_.end()) {
        ++found->second.pieces_left;
      }
    }
  }

  void piece_is_there(const Transfer& piece) {
    const auto found = matrices_.find(piece.whole_matrix);
    if (found != matrices_.end() && found->second.pieces_left.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      found->second.matrix->pack();
    }
  }

 private:
  struct Waiting {
    experts::Matrix* matrix;
    std::atomic<std::int64_t> pieces_left = 0;
  };
  void add(experts::Matrix& m) {
    if (m.layout() == experts::Layout::kRows) {
      matrices_.try_emplace(m.data()).first->second.matrix = &m;
    }
  }

  std::unordered_map<const bfloat16*, Waiting> matrices_;
};

/// Reads all pieces on all members of the team. The first failure stops all of them.
void read_all(const std::vector<Transfer>& pieces, ThreadTeam& team, Packer& packer,
              const std::function<void(const LoadProgress&)>& progress) {
  const Stopwatch watch;
  const std::uint64_t bytes_total = total_bytes(pieces);
  std::atomic<std::size_t> next = 0;
  std::atomic<std::uint64_t> bytes_read = 0;
  std::atomic<bool> failed = false;
  double told_at = 0;
  team.run([&](int member) {
    Staging staging;
    for (auto i = next.fetch_add(1); i < pieces.size() && !failed; i = next.fetch_add(1)) {
      try {
        if (const auto position = read_piece(pieces[i], staging)) {
          refuse_value(pieces[i], *position);
        }
        packer.piece_is_there(pieces[i]);
        bytes_read += pieces[i].num_bytes();
        if (member == 0 && progress && watch.seconds() - told_at >= kProgressSeconds) {
          told_at = watch.seconds();
          progress({bytes_read, bytes_total, told_at});
        }
      } catch (...) {
        failed = true;
        throw;
      }
    }
  });
  if (progress) {
    progress({bytes_read, bytes_total, watch.seconds()});
  }
}

std::uint64_t count_rounded(const std::vector<Transfer>& transfers) {
  std::uint64_t rounded = 0;
  for (const Transfer& transfer : transfers) {
    rounded += transfer.norm == nullptr && transfer.type != FloatType::kBf16 ? 1 : 0;
  }
  return rounded;
}

}  // namespace

LoadResult Checkpoint::load(const cluster::Placement& placement, Rank rank, ThreadTeam& team,
                            const LoadOptions& options) const {
  require(placement.num_experts() == impl_->config.num_experts, ExitCode::kUsage,
          "the placement is for {} experts, but {} has {} in each layer", placement.num_experts(), impl_->folder.string(),
          impl_->config.num_experts);
  require(rank.value >= 0 && rank.value < placement.num_ranks(), ExitCode::kUsage, "rank {} is not one of the placement's {}",
          rank, placement.num_ranks());
  try {
    LoadPlan plan = plan_load(*impl_, placement, rank, options.expert_type);
    for (const auto& file : impl_->files.files) {
      file->file.expect_sequential_reads();
    }
    const auto pieces = cut_into_pieces(plan.transfers, kPieceBytes);
    Packer packer(plan.weights, pieces, options.layout);
    read_all(pieces, team, packer, options.progress);
    return {.weights = std::move(plan.weights),
            .bytes_read = total_bytes(plan.transfers),
            .num_rounded = count_rounded(plan.transfers)};
  } catch (const std::bad_alloc&) {
    fail(ExitCode::kBadInput, "{}: not enough memory for the {} bytes of weights of rank {}: use more ranks, on more hosts",
         impl_->folder.string(), weight_bytes(impl_->config, placement, rank, options.expert_type), rank);
  }
}

}  // namespace unmask::runtime
