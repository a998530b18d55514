// SPDX-License-Identifier: Apache-2.0
// Heads, blocks and routing: what goes before the values of rows.
#include "comm/token_exchange.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "base/error.h"
#include "comm/wire_format.h"

namespace unmask::comm {

void TokenExchange::dispatch(std::span<const float> rows, const cluster::Routing& routing, const Notice& notice) {
  UNMASK_CHECK(rows.size() == size(routing.num_rows * options_.hidden), "{} values for {} rows", rows.size(), routing.num_rows);
  UNMASK_CHECK(!is_under_way_, "layer {} is under way", layer_);
  is_under_way_ = true;
  ++layer_;
  number_ = accounts_.next_layer();
  now_doing("pack and send");
  own_input_ = rows;
  top_k_ = routing.top_k;
  own_way_ = block_capacity_ > 0 && block_bytes(routing.num_rows, top_k_, options_) <= block_capacity_ ? Way::kBlock : Way::kMessages;
  if (options_.routing_log != nullptr) {
    options_.routing_log->add(number_, routing);
  }
  for (Transit* transit : {&rows_sent_, &rows_received_, &sums_sent_, &sums_received_}) {
    transit->begin(number_);
  }
  accounts_.meter.work([&] {
    packer_.pack(routing, parcels_out_);
    row_sums_.begin(routing);
    plan_out();
  });
  team_.set_between_tasks([this] { look(); });
  send_heads(notice, routing);
  send_routing();
  expect_returns();
  send_rows();
  now_doing("the rest of the layer");
}

Census TokenExchange::arrive() {
  now_doing("wait for routing");
  const Census all = receive_heads();
  receive_routing();
  now_doing("lay out");
  accounts_.meter.work([&] {
    read_blocks();
    plan_in();
  });
  take_own_rows();
  take_block_rows();
  agree_on_next_block();
  return all;
}

/// Heads, with a block behind each where the layer has blocks.
void TokenExchange::send_heads(const Notice& notice, const cluster::Routing& routing) {
  UNMASK_CHECK(notice.first_half >= 0 && notice.first_half <= routing.num_rows, "{} rows of {} in the first half", notice.first_half, routing.num_rows);
  census_ = {.votes = notice.vote, .num_rows = routing.num_rows, .first_half = notice.first_half};
  const std::int64_t bytes = static_cast<std::int64_t>(sizeof(ParcelHead)) + block_capacity_;
  const std::byte* block = nullptr;
  for_each_peer(job_, [&](Rank rank) {
    const Parcel& parcel = parcels_out_[rank.at()];
    const ParcelHead head{.votes = static_cast<std::uint32_t>(notice.vote), .layer = layer_, .num_rows = narrow<std::uint32_t>(parcel.num_rows()),
                          .num_pairs = narrow<std::uint32_t>(parcel.num_pairs()), .all_rows = narrow<std::uint32_t>(routing.num_rows),
                          .first_half = narrow<std::uint32_t>(notice.first_half), .in_block = own_way_ == Way::kBlock ? 1U : 0U};
    const auto message = heads_out_.room(rank, bytes);
    std::memcpy(message.data(), &head, sizeof head);
    std::byte* behind = message.data() + sizeof head;
    std::memset(behind, 0, size(block_capacity_));
    if (own_way_ == Way::kBlock && block == nullptr) {
      accounts_.meter.work([&] { write_block(routing, own_input_, options_, behind); });
      block = behind;
    } else if (own_way_ == Way::kBlock) {
      std::memcpy(behind, block, size(block_capacity_));
    }
    heads_.receive(dispatch_lane_, rank, heads_in_.room(rank, bytes));
    heads_.send(dispatch_lane_, rank, message);
    accounts_.statistics.wire_bytes += own_way_ == Way::kBlock ? size(block_capacity_) : 0;
  });
  accounts_.statistics.gathered_layers += own_way_ == Way::kBlock ? 1 : 0;
}

/// Routing and rows do not wait for heads: who sends knows the size already.
void TokenExchange::send_routing() {
  for_each_peer(job_, [&](Rank rank) {
    if (const Parcel& parcel = parcels_out_[rank.at()]; parcel.num_rows() > 0 && own_way_ == Way::kMessages) {
      const auto message = routing_out_.room(rank, routing_bytes(parcel.num_rows(), parcel.num_pairs()));
      write_routing(parcel, message.data());
      rows_sent_.next(std::ssize(message)).send(dispatch_lane_, rank, message);
      accounts_.statistics.wire_bytes += message.size();
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
    sums_received_.next(message.cut.bytes).receive(combine_lane_, message.peer, {back_in_.of(message.peer) + message.offset, size(message.cut.bytes)});
  }
}

Census TokenExchange::receive_heads() {
  wait(heads_);
  Census all = census_;
  for_each_peer(job_, [&](Rank rank) {
    ParcelHead& head = peers_[rank.at()].head;
    std::memcpy(&head, heads_in_.of(rank), sizeof(ParcelHead));
    check_head(rank);
    all.votes = all.votes | Vote(head.votes);
    all.num_rows += head.all_rows;
    all.first_half += head.first_half;
  });
  return all;
}

/// A head decides how much is allocated, so it must make sense first.
void TokenExchange::check_head(Rank from) const {
  const ParcelHead& head = peers_[from.at()].head;
  const auto num_held = placement_.held_by(job_.rank).size();
  require(head.layer == layer_, ExitCode::kPeerLost, "rank {} (host {}) is in exchange {}, this rank in {}: out of step", from,
          job_.hosts[from.at()], head.layer, layer_);
  require(head.num_pairs >= head.num_rows && head.num_pairs <= head.num_rows * std::uint64_t{num_held} &&
              head.num_pairs <= std::numeric_limits<std::int32_t>::max(),
          ExitCode::kPeerLost, "rank {} (host {}) announces {} rows for {} experts, {} are held here: do all ranks use the same "
          "placement?", from, job_.hosts[from.at()], head.num_rows, head.num_pairs, num_held);
  constexpr std::uint32_t kMaxRows = 1U << 24;  // of a step, see --max-rows; they decide on the size of the next block
  require(head.all_rows >= std::max(head.num_rows, head.first_half) && head.all_rows <= kMaxRows, ExitCode::kPeerLost,
          "rank {} (host {}) announces {} rows of {}: its memory or the wire is bad", from, job_.hosts[from.at()],
          std::max(head.num_rows, head.first_half), head.all_rows);
  require(head.in_block == 0 || block_bytes(head.all_rows, top_k_, options_) <= block_capacity_, ExitCode::kPeerLost,
          "rank {} (host {}) announces {} rows in a block of {} bytes", from, job_.hosts[from.at()], head.all_rows, block_capacity_);
}

void TokenExchange::receive_routing() {
  Flight routing(wires_, "dispatch, routing", &accounts_.meter);
  for_each_peer(job_, [&](Rank rank) {
    if (const ParcelHead& head = peers_[rank.at()].head; head.num_rows > 0 && head.in_block == 0) {
      routing.receive(dispatch_lane_, rank, routing_in_.room(rank, routing_bytes(head.num_rows, head.num_pairs)));
    }
  });
  wait(routing);
  const std::int64_t num_held = std::ssize(placement_.held_by(job_.rank));
  accounts_.meter.work([&] {
    for_each_peer(job_, [&](Rank rank) {
      Peer& peer = peers_[rank.at()];
      if (peer.head.in_block == 0) {
        read_routing(routing_in_.of(rank), peer.head, rank, job_.rank, grid_, num_held, peer.parcel);
      }
    });
  });
}

/// The parcels of those ranks whose rows came in blocks.
void TokenExchange::read_blocks() {
  for_each_peer(job_, [&](Rank rank) {
    Peer& peer = peers_[rank.at()];
    if (peer.head.in_block != 0) {
      peer.block.read(heads_in_.of(rank) + sizeof(ParcelHead), peer.head.all_rows, top_k_, placement_.num_experts(), rank);
      block_packer_.pack(peer.block.routing(), block_parcels_);
      std::swap(peer.parcel, block_parcels_[job_.rank.at()]);
      require(std::cmp_equal(peer.parcel.num_rows(), peer.head.num_rows) && std::cmp_equal(peer.parcel.num_pairs(), peer.head.num_pairs),
              ExitCode::kPeerLost, "rank {} announces {} rows and {} experts, its block has {} and {}", rank, peer.head.num_rows,
              peer.head.num_pairs, peer.parcel.num_rows(), peer.parcel.num_pairs());
    }
  });
}

/// All ranks know how many rows each of them had.
void TokenExchange::agree_on_next_block() {
  std::int64_t most = row_sums_.num_rows();
  for_each_peer(job_, [&](Rank rank) { most = std::max<std::int64_t>(most, peers_[rank.at()].head.all_rows); });
  block_capacity_ = job_.num_ranks() > 1 ? next_block_capacity(most, top_k_, options_) : 0;
}

}  // namespace unmask::comm
