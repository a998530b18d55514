// SPDX-License-Identifier: Apache-2.0
#include "comm/token_exchange.h"

#include <algorithm>

namespace unmask::comm {
namespace {

constexpr std::int64_t kMaxChunks = 16;                 // of a rank: two experts of LLaDA-MoE on 2 ranks, one on 4
constexpr std::chrono::microseconds kBetweenLooks{20};  // a look at an idle TCP socket costs some 2 us

}  // namespace

TokenExchange::TokenExchange(PointToPoint& wires, const cluster::Placement& placement, ThreadTeam& team, const ExchangeOptions& options)
    : wires_(wires), job_(wires.job()), placement_(placement), team_(team), options_(options),
      grid_(placement, options.overlap == Overlap::kOn && wires.job().num_ranks() > 1 ? kMaxChunks : 1), packer_(placement, grid_),
      arrivals_(placement, job_.rank, grid_), row_sums_(placement, options), peers_(size(job_.num_ranks())),
      block_packer_(placement, grid_), block_parcels_(size(job_.num_ranks())), heads_out_(job_.num_ranks()), heads_in_(job_.num_ranks()),
      rows_out_(job_.num_ranks()), rows_in_(job_.num_ranks()), back_out_(job_.num_ranks()), back_in_(job_.num_ranks()),
      routing_out_(job_.num_ranks()), routing_in_(job_.num_ranks()), parcels_out_(size(job_.num_ranks())),
      rows_sent_(make_transit("dispatch, rows out", Trace::Track::kRowsOut)),
      rows_received_(make_transit("dispatch, rows in", Trace::Track::kRowsIn)),
      sums_sent_(make_transit("combine, rows back out", Trace::Track::kSumsOut)),
      sums_received_(make_transit("combine, rows back in", Trace::Track::kSumsIn)) {
  for (Rank rank(0); rank.value < job_.num_ranks(); ++rank) {
    units_.emplace_back(placement, rank, options.combine);
  }
}

TokenExchange::~TokenExchange() { team_.set_between_tasks({}); }

Transit TokenExchange::make_transit(std::string_view operation, Trace::Track track) {
  return Transit({.wires = wires_, .operation = operation, .track = track, .meter = meter_, .trace = options_.trace});
}

void TokenExchange::wait(Flight& flight) {
  if (!flight.progress()) {
    const Stopwatch clock;
    flight.wait();
    wait_seconds_ += clock.seconds();
  }
}

void TokenExchange::wait(Transit& transit, std::size_t leg) {
  if (!transit.has_landed(leg)) {
    const Stopwatch clock;
    transit.wait(leg);
    wait_seconds_ += clock.seconds();
  }
}

void TokenExchange::look() {
  if (since_look_.elapsed() < kBetweenLooks) {
    return;
  }
  since_look_ = Stopwatch();
  for (Transit* transit : {&rows_sent_, &rows_received_, &sums_sent_, &sums_received_}) {
    transit->nudge();
  }
}

/// Ends what the team has been doing, and begins something else.
void TokenExchange::now_doing(std::string_view what, std::int64_t chunk) {
  const auto now = Trace::Clock::now();
  if (doing_.what == kExperts) {
    statistics_.experts_seconds += std::chrono::duration<double>(now - doing_.since).count();
  }
  if (options_.trace != nullptr && !doing_.what.empty()) {
    options_.trace->add({.name = doing_.what, .layer = layer_, .chunk = doing_.chunk, .begin = doing_.since, .end = now});
  }
  doing_ = {what, chunk, now};
}

ExchangeStatistics TokenExchange::statistics() const {
  ExchangeStatistics now = statistics_;
  now.wait_seconds = wait_seconds_;
  now.num_layers = layer_;
  if (options_.link.bytes_per_second > 0) {  // rows out and rows back, one after the other
    now.alone_seconds = static_cast<double>(std::max(now.wire_bytes, bytes_in_)) / options_.link.bytes_per_second +
                        2 * static_cast<double>(layer_) * options_.link.latency_seconds;
  }
  now.cpu_seconds = meter_.seconds();
  return now;
}

}  // namespace unmask::comm
