// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/moe_layout.h"

#include <algorithm>

#include "base/error.h"

namespace unmask::runtime::cuda {
namespace {

using comm::UnitPlan;
using Piece = comm::DeviceLinks::Piece;

constexpr UnitPlan::Kind kKinds[] = {UnitPlan::Kind::kRounded, UnitPlan::Kind::kPlain};

void add(std::vector<Piece>& pieces, const Piece& piece) {
  if (piece.bytes > 0) {
    pieces.push_back(piece);
  }
}

std::int64_t row_bytes(const MoeJob& job, UnitPlan::Kind kind) {
  return job.hidden * (kind == UnitPlan::Kind::kRounded ? job.value_bytes : std::int64_t{sizeof(float)});
}

}  // namespace

MoeLayout::MoeLayout(const MoeJob& job, std::span<const std::int64_t> rows) {
  const std::int64_t num_ranks = job.placement.num_ranks();
  UNMASK_CHECK(std::ssize(rows) == num_ranks, "rows of {} ranks, {} expected", rows.size(), num_ranks);
  require(num_ranks <= experts::cuda::kMostSegments, ExitCode::kUsage, "{} ranks with GPUs: up to {} are possible", num_ranks,
          experts::cuda::kMostSegments);
  segments_.count = static_cast<std::int32_t>(num_ranks);
  for (Rank rank(0); rank.value < num_ranks; ++rank) {
    segments_.begin[rank.at() + 1] = narrow<std::int32_t>(segments_.begin[rank.at()] + rows[rank.at()]);
  }
  own_begin_ = segments_.begin[job.rank.at()];
  own_rows_ = rows_of(job.rank);
  most_pairs_ = num_rows() * std::min(job.top_k, job.num_local());
  for (const Kind kind : kKinds) {
    auto& places = kind == Kind::kRounded ? segments_.rounded : segments_.plain;
    std::int64_t place = 0;
    for (Rank rank(0); rank.value < num_ranks; ++rank) {
      places[rank.at()] = narrow<std::int32_t>(place);
      place += rank == job.rank ? 0 : job.units.count(job.rank, kind) * rows_of(rank);
    }
    incoming_[at(kind)] = place;
    places[job.rank.at()] = narrow<std::int32_t>(place + job.units.first(job.rank, kind) * own_rows_);
    num_sums_[at(kind)] = place + job.units.count(kind) * own_rows_;
  }
  num_parts_ = choose_parts(job);
}

std::int64_t MoeLayout::choose_parts(const MoeJob& job) const {
  const std::int64_t num_ranks = job.placement.num_ranks();
  if (job.overlap == comm::Overlap::kOff || num_ranks == 1) {
    return 1;
  }
  std::int64_t most_bytes = 0;
  for (Rank from(0); from.value < num_ranks; ++from) {
    for (Rank to(0); to.value < num_ranks; ++to) {
      if (from != to) {
        const std::int64_t bytes = job.units.count(from, Kind::kRounded) * row_bytes(job, Kind::kRounded) +
                                   job.units.count(from, Kind::kPlain) * row_bytes(job, Kind::kPlain);
        most_bytes = std::max(most_bytes, bytes * rows_of(to));
      }
    }
  }
  return std::clamp<std::int64_t>(most_bytes / job.min_part_bytes, 1, std::clamp<std::int64_t>(job.units.most_units(), 1, kMostParts));
}

void MoeLayout::address(const MoeJob& job, const Buffers& buffers) {
  address_gather(job, buffers);
  returns_.clear();
  for (std::int64_t part = 0; part < num_parts_; ++part) {
    returns_.push_back(address_returns(job, buffers, part));
  }
  bytes_out_ = 0;
  const auto count = [&](const Messages& messages) {
    for (const Piece& piece : messages.out) {
      bytes_out_ += size(piece.bytes);
    }
  };
  count(gather_);
  std::for_each(returns_.begin(), returns_.end(), count);
}

void MoeLayout::address_gather(const MoeJob& job, const Buffers& buffers) {
  gather_ = {};
  const auto pieces_of = [&](Rank rank, Rank peer, std::vector<Piece>& pieces) {
    const std::int64_t begin = segments_.begin[rank.at()], rows = rows_of(rank);
    const std::int64_t bytes = row_bytes(job, Kind::kRounded);
    add(pieces, {peer, buffers.rows + begin * bytes, rows * bytes});
    add(pieces, {peer, buffers.ids + begin * job.top_k, rows * job.top_k * std::int64_t{sizeof(std::int32_t)}});
    add(pieces, {peer, buffers.weights + begin * job.top_k, rows * job.top_k * std::int64_t{sizeof(float)}});
  };
  for (Rank peer(0); peer.value < job.placement.num_ranks(); ++peer) {
    if (peer == job.rank) {
      continue;
    }
    if (!job.placement.held_by(peer).empty()) {  // nobody else has anything to do with rows
      pieces_of(job.rank, peer, gather_.out);
    }
    if (job.num_local() > 0) {
      pieces_of(peer, peer, gather_.in);
    }
  }
}

MoeLayout::Messages MoeLayout::address_returns(const MoeJob& job, const Buffers& buffers, std::int64_t part) const {
  Messages messages;
  const auto memory = [&](Kind kind, std::int64_t row) {
    return (kind == Kind::kRounded ? buffers.rounded : reinterpret_cast<std::byte*>(buffers.plain)) + row * row_bytes(job, kind);
  };
  const UnitPlan::Part mine = job.units.part(job.rank, part, num_parts_);
  for (Rank peer(0); peer.value < job.placement.num_ranks(); ++peer) {
    if (peer == job.rank) {
      continue;
    }
    const UnitPlan::Part theirs = job.units.part(peer, part, num_parts_);
    for (const Kind kind : kKinds) {
      const auto& places = kind == Kind::kRounded ? segments_.rounded : segments_.plain;
      const UnitPlan::Part::Range out = mine.of_kind[at(kind)], in = theirs.of_kind[at(kind)];
      add(messages.out, {peer, memory(kind, places[peer.at()] + out.begin * rows_of(peer)),
                         (out.end - out.begin) * rows_of(peer) * row_bytes(job, kind)});
      add(messages.in, {peer, memory(kind, incoming(kind) + (job.units.first(peer, kind) + in.begin) * own_rows_),
                        (in.end - in.begin) * own_rows_ * row_bytes(job, kind)});
    }
  }
  return messages;
}

}  // namespace unmask::runtime::cuda
