// SPDX-License-Identifier: Apache-2.0
#include "comm/exchange.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "comm/arrivals.h"
#include "comm/combine.h"
#include "comm/flight.h"
#include "comm/parcel.h"
#include "comm/point_to_point.h"

namespace unmask::comm {
namespace {

/// One message buffer per peer, grown where needed, never shrunk.
class MessageBuffers {
 public:
  explicit MessageBuffers(std::int64_t num_ranks) : buffers_(size(num_ranks)) {}
  std::span<std::byte> room(Rank peer, std::int64_t bytes) {
    buffers_[peer.at()].grow(bytes);
    return buffers_[peer.at()].span().first(size(bytes));
  }
  const std::byte* of(Rank peer) const { return buffers_[peer.at()].data(); }

 private:
  std::vector<AlignedBuffer<std::byte>> buffers_;
};

//   dispatch:  pack -> heads out, parcels out -> heads in -> parcels in -> lay out
//   combine:   returns out, returns in -> sums
// Both are one flight of messages each way, waited for at once; a pipeline over chunks of experts issues more of the same.
class TokenExchange final : public Exchange {
 public:
  TokenExchange(PointToPoint& wires, const cluster::Placement& placement, const ExchangeOptions& options)
      : wires_(wires), job_(wires.job()), placement_(placement), options_(options), arrivals_(placement, job_.rank),
        group_sums_(placement, options), parcels_out_(size(job_.num_ranks())), parcels_in_(size(job_.num_ranks())),
        heads_out_(size(job_.num_ranks())), heads_in_(size(job_.num_ranks())), return_bytes_(size(job_.num_ranks())),
        out_(job_.num_ranks()), in_(job_.num_ranks()), back_out_(job_.num_ranks()), back_in_(job_.num_ranks()) {}

  Arrived dispatch(std::span<const float> rows, const cluster::Routing& routing, Vote vote) override;
  void combine(std::span<const float> slots, std::span<float> sums) override;
  const ExchangeStatistics& statistics() const override { return statistics_; }

 private:
  Vote exchange_heads(Flight& parcels, std::span<const float> rows, Vote vote);
  void check_head(Rank from) const;
  std::span<const float> unpack(std::span<const float> rows);

  PointToPoint& wires_;
  const JobView& job_;
  const cluster::Placement& placement_;
  ExchangeOptions options_;
  Arrivals arrivals_;
  GroupSums group_sums_;
  std::vector<Parcel> parcels_out_, parcels_in_;      ///< by rank; the own parcel is only "out"
  std::vector<ParcelHead> heads_out_, heads_in_;
  std::vector<std::int64_t> return_bytes_;
  MessageBuffers out_, in_, back_out_, back_in_;
  AlignedBuffer<float> rows_;
  SentRouting sent_;
  ExchangeStatistics statistics_;
  std::uint32_t layer_ = 0;
};

/// Sends heads and parcels, receives heads. Parcels do not wait for heads: who sends knows the size already.
Vote TokenExchange::exchange_heads(Flight& parcels, std::span<const float> rows, Vote vote) {
  Flight heads(wires_, "dispatch, counts");
  for_each_peer(job_, [&](Rank peer) {
    const Parcel& parcel = parcels_out_[peer.at()];
    heads_out_[peer.at()] = {static_cast<std::uint32_t>(vote), layer_, narrow<std::uint32_t>(parcel.num_rows()),
                             narrow<std::uint32_t>(parcel.num_pairs())};
    heads.receive(Lane::kDispatch, peer, std::as_writable_bytes(std::span(&heads_in_[peer.at()], 1)));
    heads.send(Lane::kDispatch, peer, std::as_bytes(std::span(&heads_out_[peer.at()], 1)));
  });
  for_each_peer(job_, [&](Rank peer) {
    if (const Parcel& parcel = parcels_out_[peer.at()]; parcel.num_rows() > 0) {
      const auto message = out_.room(peer, parcel_bytes(parcel.num_rows(), parcel.num_pairs(), options_));
      write_parcel(parcel, rows.data(), options_, message.data());
      parcels.send(Lane::kDispatch, peer, message);
      statistics_.wire_bytes += message.size();
    }
  });
  heads.wait();
  for_each_peer(job_, [&](Rank peer) {
    check_head(peer);
    vote = vote | Vote(heads_in_[peer.at()].votes);
  });
  return vote;
}

/// A head decides how much is allocated, so it must make sense first.
void TokenExchange::check_head(Rank from) const {
  const ParcelHead& head = heads_in_[from.at()];
  const auto num_held = placement_.held_by(job_.rank).size();
  require(head.layer == layer_, ExitCode::kPeerLost, "rank {} (host {}) is in exchange {}, this rank in {}: out of step", from,
          job_.hosts[from.at()], head.layer, layer_);
  require(head.num_pairs >= head.num_rows && head.num_pairs <= head.num_rows * std::uint64_t{num_held} &&
              head.num_pairs <= std::numeric_limits<std::int32_t>::max(),
          ExitCode::kPeerLost, "rank {} (host {}) announces {} rows for {} experts, {} are held here: do all ranks use the same "
          "placement?", from, job_.hosts[from.at()], head.num_rows, head.num_pairs, num_held);
}

/// The rows of the work, those of this rank among them, and their parcels to lay out.
std::span<const float> TokenExchange::unpack(std::span<const float> rows) {
  std::vector<const Parcel*> parcels;
  std::int64_t num_rows = 0;
  for (Rank source(0); source.value < job_.num_ranks(); ++source) {
    const bool own = source == job_.rank;
    parcels.push_back(own ? &parcels_out_[source.at()] : &parcels_in_[source.at()]);
    num_rows += own ? parcels.back()->num_rows() : std::int64_t{heads_in_[source.at()].num_rows};
  }
  const auto& own_rows = parcels_out_[job_.rank.at()].rows;
  const bool all_from_here = std::cmp_equal(own_rows.size(), num_rows) && own_rows.size() * size(options_.hidden) == rows.size();
  if (!all_from_here) {
    rows_.grow(num_rows * options_.hidden);
  }
  float* values = rows_.data();
  const auto num_held = static_cast<std::int64_t>(placement_.held_by(job_.rank).size());
  for (Rank source(0); source.value < job_.num_ranks(); ++source) {
    if (source != job_.rank) {
      const ParcelHead& head = heads_in_[source.at()];
      read_parcel(in_.of(source), head, source, num_held, options_, parcels_in_[source.at()], values);
      values += head.num_rows * options_.hidden;
    } else if (!all_from_here) {
      for (const auto row : own_rows) {
        values = std::copy_n(rows.data() + row * options_.hidden, options_.hidden, values);
      }
    }
  }
  arrivals_.lay_out(parcels);
  return all_from_here ? rows : std::span<const float>(rows_.span().first(size(num_rows * options_.hidden)));
}

Exchange::Arrived TokenExchange::dispatch(std::span<const float> rows, const cluster::Routing& routing, Vote vote) {
  UNMASK_CHECK(rows.size() == size(routing.num_rows * options_.hidden), "{} values for {} rows", rows.size(), routing.num_rows);
  ++layer_;
  pack(routing, placement_, parcels_out_);
  sent_.num_rows = routing.num_rows;
  sent_.top_k = routing.top_k;
  sent_.ids.assign(routing.ids.begin(), routing.ids.end());

  Flight parcels(wires_, "dispatch, rows out");
  Arrived arrived;
  arrived.votes = exchange_heads(parcels, rows, vote);
  for_each_peer(job_, [&](Rank peer) {
    if (const ParcelHead& head = heads_in_[peer.at()]; head.num_rows > 0) {
      parcels.receive(Lane::kDispatch, peer, in_.room(peer, parcel_bytes(head.num_rows, head.num_pairs, options_)));
    }
  });
  parcels.wait();
  arrived.work.rows = unpack(rows);
  arrived.work.num_rows = arrivals_.num_rows();
  arrived.work.num_slots = arrivals_.num_slots();
  arrived.work.assignments = arrivals_.assignments();
  return arrived;
}

void TokenExchange::combine(std::span<const float> slots, std::span<float> sums) {
  UNMASK_CHECK(slots.size() == size(arrivals_.num_slots() * options_.hidden), "{} values for {} slots", slots.size(),
               arrivals_.num_slots());
  UNMASK_CHECK(sums.size() == size(sent_.num_rows * options_.hidden), "{} values for {} rows", sums.size(), sent_.num_rows);
  expected_returns(sent_, placement_, options_, return_bytes_);
  Flight returns(wires_, "combine, rows back");
  std::vector<const std::byte*> messages(size(job_.num_ranks()));
  for_each_peer(job_, [&](Rank peer) {
    if (const auto bytes = return_bytes_[peer.at()]; bytes > 0) {
      returns.receive(Lane::kCombine, peer, back_in_.room(peer, bytes));
      messages[peer.at()] = back_in_.of(peer);
    }
  });
  for_each_peer(job_, [&](Rank peer) {
    if (const auto bytes = return_bytes(arrivals_, peer, options_); bytes > 0) {
      const auto message = back_out_.room(peer, bytes);
      write_return(arrivals_, peer, slots, options_, message.data());
      returns.send(Lane::kCombine, peer, message);
      statistics_.wire_bytes += message.size();
    }
  });
  returns.wait();
  group_sums_.sum(sent_, {messages, job_.rank, slots.data() + arrivals_.slots_begin(job_.rank) * options_.hidden}, sums);
}

}  // namespace

std::unique_ptr<Exchange> make_exchange(Communicator& comm, const cluster::Placement& placement, const ExchangeOptions& options) {
  UNMASK_CHECK(placement.num_ranks() == comm.num_ranks(), "placement for {} ranks, {} take part", placement.num_ranks(),
               comm.num_ranks());
  UNMASK_CHECK(options.hidden > 0, "hidden = {}", options.hidden);
  constexpr std::int64_t kMaxExperts = std::numeric_limits<std::uint16_t>::max();
  require(placement.num_experts() <= kMaxExperts, ExitCode::kBadInput, "expected at most {} experts per layer, found {}",
          kMaxExperts, placement.num_experts());
  return std::make_unique<TokenExchange>(comm.wires(), placement, options);
}

}  // namespace unmask::comm
