// SPDX-License-Identifier: Apache-2.0
// What travels where in a layer, and in which chunks this rank computes.
#include "comm/token_exchange.h"

#include <algorithm>

#include "base/error.h"
#include "comm/wire_format.h"

namespace unmask::comm {

/// What goes to each rank, and what will come back from it.
void TokenExchange::plan_out() {
  plan_rows_out_.begin(MessagePlan::Due::kFirst);
  plan_returns_.begin(MessagePlan::Due::kLast);
  for (Rank rank(0); rank.value < job_.num_ranks(); ++rank) {
    Peer& peer = peers_[rank.at()];
    const Parcel& parcel = parcels_out_[rank.at()];
    peer.returns.plan(parcel, units_[rank.at()], grid_, rank, options_);
    if (rank != job_.rank) {
      if (own_way_ == Way::kMessages) {
        plan_rows_out_.add(rank, cut_into_messages(row_bytes(parcel), options_.min_message_bytes));
      }
      plan_returns_.add(rank, cut_into_messages(peer.returns.chunk_bytes(), options_.min_message_bytes));
      accounts_.statistics.minimum_bytes += size(parcel.num_rows() * options_.hidden * value_bytes(options_.wire));
      accounts_.statistics.naive_bytes += size(2 * parcel.num_pairs() * options_.hidden * value_bytes(options_.wire));
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
    if (peer.head.in_block == 0) {
      plan_rows_in_.add(rank, cut_into_messages(row_bytes(peer.parcel), options_.min_message_bytes));
    }
    plan_back_.add(rank, cut_into_messages(peer.back.chunk_bytes(), options_.min_message_bytes));
    rows_in_.room(rank, peer.parcel.num_rows() * options_.hidden * value_bytes(options_.wire));
    back_out_.room(rank, peer.back.num_bytes());
    accounts_.statistics.minimum_bytes += size(peer.back.num_bytes());
    accounts_.bytes_in += size(peer.parcel.num_rows() * options_.hidden * value_bytes(options_.wire) + peers_[rank.at()].returns.num_bytes());
    sources.push_back({&peer.parcel, &peer.back});
  }
  plan_rows_in_.order(job_.rank, job_.num_ranks());
  plan_back_.order(job_.rank, job_.num_ranks());
  arrivals_.lay_out(sources);
  accounts_.statistics.busiest_pairs += arrivals_.busiest_pairs();
  row_sums_.expect_own(parcels_out_[job_.rank.at()], peers_[job_.rank.at()].returns, arrivals_.slots_of(job_.rank));
  find_chunk_ends();
  for (const std::int64_t end : chunk_ends_) {
    const auto messages = plan_rows_in_.issue_before(end);
    std::int64_t bytes = 0;
    for (const auto& message : messages) {
      bytes += message.cut.bytes;
    }
    Flight& arriving = rows_received_.next(bytes);
    for (const auto& message : messages) {
      arriving.receive(dispatch_lane_, message.peer, {rows_in_.of(message.peer) + message.offset, size(message.cut.bytes)});
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

}  // namespace unmask::comm
