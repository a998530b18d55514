// SPDX-License-Identifier: Apache-2.0
#include "comm/token_exchange.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "comm/wire_format.h"

namespace unmask::comm {
namespace {

constexpr std::int64_t kMaxChunks = 16;                 // of a rank: two experts of LLaDA-MoE on 2 ranks, one on 4
constexpr std::chrono::microseconds kBetweenLooks{20};  // a look at an idle TCP socket costs some 2 us

}  // namespace

TokenExchange::TokenExchange(PointToPoint& wires, const cluster::Placement& placement, ThreadTeam& team, const ExchangeOptions& options)
    : wires_(wires), job_(wires.job()), placement_(placement), team_(team), options_(options),
      grid_(placement, options.overlap == Overlap::kOn && wires.job().num_ranks() > 1 ? kMaxChunks : 1), packer_(placement, grid_),
      arrivals_(placement, job_.rank, grid_), row_sums_(placement, options), peers_(size(job_.num_ranks())),
      rows_out_(job_.num_ranks()), rows_in_(job_.num_ranks()), back_out_(job_.num_ranks()), back_in_(job_.num_ranks()),
      routing_out_(job_.num_ranks()), routing_in_(job_.num_ranks()), parcels_out_(size(job_.num_ranks())) {
  for (Rank rank(0); rank.value < job_.num_ranks(); ++rank) {
    units_.emplace_back(placement, rank, options.combine);
  }
}

TokenExchange::~TokenExchange() { team_.set_between_tasks({}); }

void TokenExchange::wait(Flight& flight) {
  if (!flight.progress()) {
    const Stopwatch clock;
    flight.wait();
    wait_seconds_ += clock.seconds();
  }
}

void TokenExchange::look() {
  if (since_look_.elapsed() < kBetweenLooks) {
    return;
  }
  since_look_ = Stopwatch();
  for (Flight* flight : {&sending_rows_, &returning_, &returns_}) {
    flight->nudge();
  }
  for (auto& arriving : arriving_) {
    arriving.nudge();
  }
}

Vote TokenExchange::dispatch(std::span<const float> rows, const cluster::Routing& routing, Vote vote) {
  UNMASK_CHECK(rows.size() == size(routing.num_rows * options_.hidden), "{} values for {} rows", rows.size(), routing.num_rows);
  ++layer_;
  own_input_ = rows;
  meter_.work([&] {
    packer_.pack(routing, parcels_out_);
    row_sums_.begin(routing);
    plan_out();
  });
  team_.set_between_tasks([this] { look(); });
  Flight heads(wires_, "dispatch, counts", &meter_);
  send_heads(heads, vote);
  expect_returns();
  send_rows();
  vote = receive_heads(heads, vote);
  receive_routing();
  meter_.work([&] { plan_in(); });
  take_own_rows();
  return vote;
}

/// What goes to each rank, and what will come back from it.
void TokenExchange::plan_out() {
  plan_rows_out_.begin(MessagePlan::Due::kFirst);
  plan_returns_.begin(MessagePlan::Due::kLast);
  for (Rank rank(0); rank.value < job_.num_ranks(); ++rank) {
    Peer& peer = peers_[rank.at()];
    const Parcel& parcel = parcels_out_[rank.at()];
    peer.returns.plan(parcel, units_[rank.at()], grid_, rank, options_);
    if (rank != job_.rank) {
      plan_rows_out_.add(rank, cut_into_messages(row_bytes(parcel), options_.min_message_bytes));
      plan_returns_.add(rank, cut_into_messages(peer.returns.chunk_bytes(), options_.min_message_bytes));
      statistics_.minimum_bytes += size(parcel.num_rows() * options_.hidden * value_bytes(options_.wire));
      statistics_.naive_bytes += size(2 * parcel.num_pairs() * options_.hidden * value_bytes(options_.wire));
    }
  }
  plan_rows_out_.order(job_.rank, job_.num_ranks());
  plan_returns_.order(job_.rank, job_.num_ranks());
}

/// The bytes of row values that each chunk is the first to need.
std::span<const std::int64_t> TokenExchange::row_bytes(const Parcel& parcel) {
  row_bytes_.clear();
  for (std::size_t chunk = 0; chunk + 1 < parcel.chunk_begin.size(); ++chunk) {
    row_bytes_.push_back((parcel.chunk_begin[chunk + 1] - parcel.chunk_begin[chunk]) * options_.hidden * value_bytes(options_.wire));
  }
  return row_bytes_;
}

/// Heads and routing. Parcels do not wait for heads: who sends knows the size already.
void TokenExchange::send_heads(Flight& heads, Vote vote) {
  for_each_peer(job_, [&](Rank rank) {
    Peer& peer = peers_[rank.at()];
    const Parcel& parcel = parcels_out_[rank.at()];
    peer.head_out = {static_cast<std::uint32_t>(vote), layer_, narrow<std::uint32_t>(parcel.num_rows()),
                     narrow<std::uint32_t>(parcel.num_pairs())};
    heads.receive(Lane::kDispatch, rank, std::as_writable_bytes(std::span(&peer.head_in, 1)));
    heads.send(Lane::kDispatch, rank, std::as_bytes(std::span(&peer.head_out, 1)));
    if (parcel.num_rows() > 0) {
      const auto message = routing_out_.room(rank, routing_bytes(parcel.num_rows(), parcel.num_pairs()));
      write_routing(parcel, message.data());
      sending_rows_.send(Lane::kDispatch, rank, message);
      statistics_.wire_bytes += message.size();
      rows_out_.room(rank, parcel.num_rows() * options_.hidden * value_bytes(options_.wire));
    }
  });
}

void TokenExchange::expect_returns() {
  for_each_peer(job_, [&](Rank rank) {
    const ReturnPlan& plan = peers_[rank.at()].returns;
    back_in_.room(rank, plan.num_bytes());
    row_sums_.expect(rank, parcels_out_[rank.at()], plan, back_in_.of(rank));
  });
  for (const auto& message : plan_returns_.issue_before(grid_.num_chunks())) {
    returns_.receive(Lane::kCombine, message.peer, {back_in_.of(message.peer) + message.offset, size(message.cut.bytes)});
  }
}

Vote TokenExchange::receive_heads(Flight& heads, Vote vote) {
  wait(heads);
  for_each_peer(job_, [&](Rank rank) {
    check_head(rank);
    vote = vote | Vote(peers_[rank.at()].head_in.votes);
  });
  return vote;
}

/// A head decides how much is allocated, so it must make sense first.
void TokenExchange::check_head(Rank from) const {
  const ParcelHead& head = peers_[from.at()].head_in;
  const auto num_held = placement_.held_by(job_.rank).size();
  require(head.layer == layer_, ExitCode::kPeerLost, "rank {} (host {}) is in exchange {}, this rank in {}: out of step", from,
          job_.hosts[from.at()], head.layer, layer_);
  require(head.num_pairs >= head.num_rows && head.num_pairs <= head.num_rows * std::uint64_t{num_held} &&
              head.num_pairs <= std::numeric_limits<std::int32_t>::max(),
          ExitCode::kPeerLost, "rank {} (host {}) announces {} rows for {} experts, {} are held here: do all ranks use the same "
          "placement?", from, job_.hosts[from.at()], head.num_rows, head.num_pairs, num_held);
}

void TokenExchange::receive_routing() {
  Flight routing(wires_, "dispatch, routing", &meter_);
  for_each_peer(job_, [&](Rank rank) {
    if (const ParcelHead& head = peers_[rank.at()].head_in; head.num_rows > 0) {
      routing.receive(Lane::kDispatch, rank, routing_in_.room(rank, routing_bytes(head.num_rows, head.num_pairs)));
    }
  });
  wait(routing);
  const std::int64_t num_held = std::ssize(placement_.held_by(job_.rank));
  meter_.work([&] {
    for_each_peer(job_, [&](Rank rank) {
      Peer& peer = peers_[rank.at()];
      read_routing(routing_in_.of(rank), peer.head_in, rank, job_.rank, grid_, num_held, peer.parcel);
    });
  });
}

/// What comes from each rank, what goes back to it, and so the chunks in which this rank computes: one ends where a message to
/// or from anybody does.
void TokenExchange::plan_in() {
  plan_rows_in_.begin(MessagePlan::Due::kFirst);
  plan_back_.begin(MessagePlan::Due::kLast);
  std::vector<Arrivals::Source> sources;
  for (Rank rank(0); rank.value < job_.num_ranks(); ++rank) {
    Peer& peer = peers_[rank.at()];
    if (rank == job_.rank) {
      sources.push_back({&parcels_out_[rank.at()], &peer.returns});
      continue;
    }
    peer.back.plan(peer.parcel, units_[job_.rank.at()], grid_, job_.rank, options_);
    plan_rows_in_.add(rank, cut_into_messages(row_bytes(peer.parcel), options_.min_message_bytes));
    plan_back_.add(rank, cut_into_messages(peer.back.chunk_bytes(), options_.min_message_bytes));
    rows_in_.room(rank, peer.parcel.num_rows() * options_.hidden * value_bytes(options_.wire));
    back_out_.room(rank, peer.back.num_bytes());
    statistics_.minimum_bytes += size(peer.back.num_bytes());
    sources.push_back({&peer.parcel, &peer.back});
  }
  plan_rows_in_.order(job_.rank, job_.num_ranks());
  plan_back_.order(job_.rank, job_.num_ranks());
  arrivals_.lay_out(sources);
  row_sums_.expect_own(parcels_out_[job_.rank.at()], peers_[job_.rank.at()].returns, arrivals_.slots_of(job_.rank));
  find_chunk_ends();
  arriving_.clear();
  for (const std::int64_t end : chunk_ends_) {
    arriving_.emplace_back(wires_, "dispatch, rows out", &meter_);
    for (const auto& message : plan_rows_in_.issue_before(end)) {
      arriving_.back().receive(Lane::kDispatch, message.peer, {rows_in_.of(message.peer) + message.offset, size(message.cut.bytes)});
    }
  }
}

void TokenExchange::find_chunk_ends() {
  chunk_ends_.assign(1, grid_.num_chunks());
  for (const MessagePlan* plan : {&plan_rows_in_, &plan_back_}) {
    for (const auto& message : plan->all()) {
      chunk_ends_.push_back(message.cut.end);
    }
  }
  std::sort(chunk_ends_.begin(), chunk_ends_.end());
  chunk_ends_.erase(std::unique(chunk_ends_.begin(), chunk_ends_.end()), chunk_ends_.end());
}

ExchangeStatistics TokenExchange::statistics() const {
  ExchangeStatistics now = statistics_;
  now.wait_seconds = wait_seconds_;
  now.cpu_seconds = meter_.seconds();
  return now;
}

}  // namespace unmask::comm
