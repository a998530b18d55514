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

Vote TokenExchange::dispatch(std::span<const float> rows, const cluster::Routing& routing, Vote vote) {
  UNMASK_CHECK(rows.size() == size(routing.num_rows * options_.hidden), "{} values for {} rows", rows.size(), routing.num_rows);
  now_doing("pack and send");
  ++layer_;
  own_input_ = rows;
  top_k_ = routing.top_k;
  own_way_ = block_capacity_ > 0 && block_bytes(routing.num_rows, top_k_, options_) <= block_capacity_ ? Way::kBlock : Way::kMessages;
  if (options_.routing_log != nullptr) {
    options_.routing_log->add(layer_, routing);
  }
  for (Transit* transit : {&rows_sent_, &rows_received_, &sums_sent_, &sums_received_}) {
    transit->begin(layer_);
  }
  meter_.work([&] {
    packer_.pack(routing, parcels_out_);
    row_sums_.begin(routing);
    plan_out();
  });
  team_.set_between_tasks([this] { look(); });
  Flight heads(wires_, "dispatch, counts", &meter_);
  send_heads(heads, vote, routing);
  send_routing();
  expect_returns();
  send_rows();
  now_doing("wait for routing");
  vote = receive_heads(heads, vote);
  receive_routing();
  now_doing("lay out");
  meter_.work([&] {
    read_blocks();
    plan_in();
  });
  take_own_rows();
  take_block_rows();
  agree_on_next_block(routing.num_rows);
  return vote;
}

/// Heads, with a block behind each where the layer has blocks.
void TokenExchange::send_heads(Flight& heads, Vote vote, const cluster::Routing& routing) {
  const std::int64_t bytes = static_cast<std::int64_t>(sizeof(ParcelHead)) + block_capacity_;
  const std::byte* block = nullptr;
  for_each_peer(job_, [&](Rank rank) {
    const Parcel& parcel = parcels_out_[rank.at()];
    const ParcelHead head{.votes = static_cast<std::uint32_t>(vote), .layer = layer_, .num_rows = narrow<std::uint32_t>(parcel.num_rows()),
                          .num_pairs = narrow<std::uint32_t>(parcel.num_pairs()), .all_rows = narrow<std::uint32_t>(routing.num_rows),
                          .in_block = own_way_ == Way::kBlock ? 1U : 0U};
    const auto message = heads_out_.room(rank, bytes);
    std::memcpy(message.data(), &head, sizeof head);
    std::byte* behind = message.data() + sizeof head;
    std::memset(behind, 0, size(block_capacity_));
    if (own_way_ == Way::kBlock && block == nullptr) {
      meter_.work([&] { write_block(routing, own_input_, options_, behind); });
      block = behind;
    } else if (own_way_ == Way::kBlock) {
      std::memcpy(behind, block, size(block_capacity_));
    }
    heads.receive(Lane::kDispatch, rank, heads_in_.room(rank, bytes));
    heads.send(Lane::kDispatch, rank, message);
    statistics_.wire_bytes += own_way_ == Way::kBlock ? size(block_capacity_) : 0;
  });
  statistics_.gathered_layers += own_way_ == Way::kBlock ? 1 : 0;
}

/// Routing and rows do not wait for heads: who sends knows the size already.
void TokenExchange::send_routing() {
  for_each_peer(job_, [&](Rank rank) {
    if (const Parcel& parcel = parcels_out_[rank.at()]; parcel.num_rows() > 0 && own_way_ == Way::kMessages) {
      const auto message = routing_out_.room(rank, routing_bytes(parcel.num_rows(), parcel.num_pairs()));
      write_routing(parcel, message.data());
      rows_sent_.next(std::ssize(message)).send(Lane::kDispatch, rank, message);
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
    sums_received_.next(message.cut.bytes).receive(Lane::kCombine, message.peer, {back_in_.of(message.peer) + message.offset, size(message.cut.bytes)});
  }
}

Vote TokenExchange::receive_heads(Flight& heads, Vote vote) {
  wait(heads);
  for_each_peer(job_, [&](Rank rank) {
    std::memcpy(&peers_[rank.at()].head, heads_in_.of(rank), sizeof(ParcelHead));
    check_head(rank);
    vote = vote | Vote(peers_[rank.at()].head.votes);
  });
  return vote;
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
  require(head.in_block == 0 || block_bytes(head.all_rows, top_k_, options_) <= block_capacity_, ExitCode::kPeerLost,
          "rank {} (host {}) announces {} rows in a block of {} bytes", from, job_.hosts[from.at()], head.all_rows, block_capacity_);
}

void TokenExchange::receive_routing() {
  Flight routing(wires_, "dispatch, routing", &meter_);
  for_each_peer(job_, [&](Rank rank) {
    if (const ParcelHead& head = peers_[rank.at()].head; head.num_rows > 0 && head.in_block == 0) {
      routing.receive(Lane::kDispatch, rank, routing_in_.room(rank, routing_bytes(head.num_rows, head.num_pairs)));
    }
  });
  wait(routing);
  const std::int64_t num_held = std::ssize(placement_.held_by(job_.rank));
  meter_.work([&] {
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
void TokenExchange::agree_on_next_block(std::int64_t own_rows) {
  std::int64_t most = own_rows;
  for_each_peer(job_, [&](Rank rank) { most = std::max<std::int64_t>(most, peers_[rank.at()].head.all_rows); });
  block_capacity_ = job_.num_ranks() > 1 ? next_block_capacity(most, top_k_, options_) : 0;
}

}  // namespace unmask::comm
