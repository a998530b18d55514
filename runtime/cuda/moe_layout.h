// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cluster/placement.h"
#include "comm/nccl/device_links.h"
#include "comm/nccl/unit_plan.h"
#include "experts/cuda/kernels.h"

namespace unmask::runtime::cuda {

/// What a MoE layer's buffers and messages depend on, beside the rows.
struct MoeJob {
  cluster::Placement placement;
  comm::UnitPlan units;
  Rank rank;
  std::int64_t hidden, top_k;
  std::int64_t value_bytes;     ///< of a value that travels
  comm::Overlap overlap;
  std::int64_t min_part_bytes;

  std::int64_t num_local() const { return std::ssize(placement.held_by(rank)); }
};

/// Where everything lies in a layer with so many rows of each rank, and what travels. The rows of all ranks lie one rank's behind
/// another's. Sums, of either kind, as rows of `hidden` values:
///
///   | to rank 0: unit 0 [its rows], unit 1 [its rows], .. | to rank 1: .. | ..   | units of all ranks [own rows] |
///     what leaves: the units of this rank, not for itself                         what comes, and the own units
class MoeLayout {
 public:
  MoeLayout() = default;
  MoeLayout(const MoeJob& job, std::span<const std::int64_t> rows);

  std::int64_t num_rows() const { return segments_.begin[segments_.count]; }  ///< of all ranks
  std::int64_t own_begin() const { return own_begin_; }
  std::int64_t own_rows() const { return own_rows_; }
  std::int64_t most_pairs() const { return most_pairs_; }    ///< of this rank's experts
  const experts::cuda::RowSegments& segments() const { return segments_; }

  using Kind = comm::UnitPlan::Kind;
  std::int64_t num_sums(Kind kind) const { return num_sums_[at(kind)]; }      ///< rows of the array
  std::int64_t incoming(Kind kind) const { return incoming_[at(kind)]; }      ///< the first that comes

  /// In how many parts the units are computed and return, so that one travels while the next is computed. The same on all ranks.
  static constexpr std::int64_t kMostParts = 4;
  std::int64_t num_parts() const { return num_parts_; }

  /// Messages, once it is known where the buffers are.
  struct Buffers {
    std::byte* rows;
    std::int32_t* ids;
    float* weights;
    std::byte* rounded;
    float* plain;
  };
  struct Messages {
    std::vector<comm::DeviceLinks::Piece> out, in;
  };
  void address(const MoeJob& job, const Buffers& buffers);
  const Messages& gather() const { return gather_; }
  const Messages& returns(std::int64_t part) const { return returns_[size(part)]; }
  std::uint64_t bytes_out() const { return bytes_out_; }     ///< of all of them

 private:
  static constexpr std::size_t at(Kind kind) { return static_cast<std::size_t>(kind); }
  std::int64_t rows_of(Rank rank) const { return segments_.begin[rank.at() + 1] - segments_.begin[rank.at()]; }
  std::int64_t choose_parts(const MoeJob& job) const;
  void address_gather(const MoeJob& job, const Buffers& buffers);
  Messages address_returns(const MoeJob& job, const Buffers& buffers, std::int64_t part) const;

  experts::cuda::RowSegments segments_{};
  std::int64_t own_begin_ = 0, own_rows_ = 0, most_pairs_ = 0, num_parts_ = 1;
  std::int64_t num_sums_[comm::UnitPlan::kNumKinds] = {}, incoming_[comm::UnitPlan::kNumKinds] = {};
  Messages gather_;
  std::vector<Messages> returns_;
  std::uint64_t bytes_out_ = 0;
};

}  // namespace unmask::runtime::cuda
