// SPDX-License-Identifier: Apache-2.0
#include "comm/token_exchange.h"

#include <algorithm>

namespace unmask::comm {
namespace {

constexpr std::int64_t kMaxChunks = 16;                 // of a rank: two experts of LLaDA-MoE on 2 ranks, one on 4
constexpr std::chrono::microseconds kBetweenLooks{20};  // a look at an idle TCP socket costs some 2 us

}  // namespace

TokenExchange::TokenExchange(PointToPoint& wires, const cluster::Placement& placement, ThreadTeam& team, const ExchangeOptions& options)
    : TokenExchange(wires, placement, team, options, nullptr) {}

/// The first one keeps the accounts and looks after the messages of both.
TokenExchange::TokenExchange(PointToPoint& wires, const cluster::Placement& placement, ThreadTeam& team, const ExchangeOptions& options,
                             TokenExchange* first)
    : wires_(wires), job_(wires.job()), placement_(placement), team_(team), options_(options),
      own_accounts_(first == nullptr ? std::make_unique<Accounts>(options.trace) : nullptr),
      accounts_(first == nullptr ? *own_accounts_ : first->accounts_), dispatch_lane_(first == nullptr ? Lane::kDispatch : Lane::kTwinDispatch),
      combine_lane_(first == nullptr ? Lane::kCombine : Lane::kTwinCombine), other_(first),
      grid_(placement, options.overlap == Overlap::kOn && wires.job().num_ranks() > 1 ? kMaxChunks : 1), packer_(placement, grid_),
      arrivals_(placement, job_.rank, grid_), row_sums_(placement, options), peers_(size(job_.num_ranks())),
      block_packer_(placement, grid_), block_parcels_(size(job_.num_ranks())), heads_out_(job_.num_ranks()), heads_in_(job_.num_ranks()),
      rows_out_(job_.num_ranks()), rows_in_(job_.num_ranks()), back_out_(job_.num_ranks()), back_in_(job_.num_ranks()),
      routing_out_(job_.num_ranks()), routing_in_(job_.num_ranks()), parcels_out_(size(job_.num_ranks())),
      heads_(wires, "dispatch, counts", &accounts_.meter),
      rows_sent_(make_transit("dispatch, rows out", Trace::Track::kRowsOut)),
      rows_received_(make_transit("dispatch, rows in", Trace::Track::kRowsIn)),
      sums_sent_(make_transit("combine, rows back out", Trace::Track::kSumsOut)),
      sums_received_(make_transit("combine, rows back in", Trace::Track::kSumsIn)) {
  for (Rank rank(0); rank.value < job_.num_ranks(); ++rank) {
    units_.emplace_back(placement, rank, options.combine);
  }
  if (first == nullptr) {
    team_.set_between_tasks([this] { wires_.works(); });
  }
}

TokenExchange::~TokenExchange() {
  if (own_accounts_ != nullptr) {
    team_.set_between_tasks({});
  }
}

Exchange& TokenExchange::twin() {
  if (other_ == nullptr) {
    twin_.reset(new TokenExchange(wires_, placement_, team_, options_, this));
    other_ = twin_.get();
  }
  return *other_;
}

Transit TokenExchange::make_transit(std::string_view operation, Trace::Track track) {
  return Transit({.wires = wires_, .operation = operation, .track = track, .accounts = accounts_});
}

void TokenExchange::wait(Flight& flight) {
  if (!flight.progress()) {
    const Stopwatch clock;
    flight.wait();
    accounts_.wait_seconds += clock.seconds();
  }
}

void TokenExchange::wait(Transit& transit, std::size_t leg) {
  if (!transit.has_landed(leg)) {
    const Stopwatch clock;
    transit.wait(leg);
    accounts_.wait_seconds += clock.seconds();
  }
}

/// Between the team's tasks, while a layer of this exchange or of its twin is under way.
void TokenExchange::look() {
  if (accounts_.since_look.elapsed() < kBetweenLooks) {
    return;
  }
  accounts_.since_look = Stopwatch();
  wires_.works();
  nudge();
  if (other_ != nullptr) {
    other_->nudge();
  }
}

void TokenExchange::nudge() {
  heads_.nudge();
  for (Transit* transit : {&rows_sent_, &rows_received_, &sums_sent_, &sums_received_}) {
    transit->nudge();
  }
}

}  // namespace unmask::comm
