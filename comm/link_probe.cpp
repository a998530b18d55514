// SPDX-License-Identifier: Apache-2.0
#include "comm/link_probe.h"

#include <algorithm>
#include <vector>

#include "base/byte_stream.h"
#include "base/clock.h"
#include "comm/flight.h"
#include "comm/point_to_point.h"

namespace unmask::comm {
namespace {

constexpr int kSmallRounds = 32;
constexpr int kLargeRounds = 8;
constexpr std::size_t kSmallBytes = 8;
constexpr std::size_t kFirstBytes = std::size_t{64} << 10;  // tells whether the link can afford
constexpr std::size_t kLargeBytes = std::size_t{1} << 20;   // so many
constexpr double kMaxSeconds = 0.5;                         // for all large ones

/// Everybody sends to the next rank; seconds.
double pass_on(PointToPoint& wires, std::span<const std::byte> out, std::span<std::byte> in) {
  const JobView& job = wires.job();
  const Rank next((job.rank.value + 1) % job.num_ranks());
  const Rank last((job.rank.value + job.num_ranks() - 1) % job.num_ranks());
  const Stopwatch clock;
  Flight flight(wires, "start-up, link probe");
  flight.receive(Lane::kDispatch, last, in);
  flight.send(Lane::kDispatch, next, out);
  flight.wait();
  return clock.seconds();
}

double largest(Communicator& comm, double mine) {
  for (const auto& bytes : comm.all_gather(ByteWriter().put(mine).take())) {
    mine = std::max(mine, ByteReader(bytes).get<double>());
  }
  return mine;
}

}  // namespace

LinkFacts probe_links(Communicator& comm) {
  if (comm.num_ranks() == 1) {
    return {};
  }
  const std::vector<std::byte> out(kLargeBytes);
  std::vector<std::byte> in(kLargeBytes);
  const auto median_of = [&](int rounds, std::size_t bytes) {
    std::vector<double> seconds;
    for (int i = 0; i < rounds; ++i) {
      seconds.push_back(pass_on(comm.wires(), std::span(out).first(bytes), std::span(in).first(bytes)));
    }
    std::nth_element(seconds.begin(), seconds.begin() + rounds / 2, seconds.end());
    return seconds[size(rounds / 2)];
  };
  comm.barrier();
  LinkFacts facts{.latency_seconds = largest(comm, median_of(kSmallRounds, kSmallBytes))};
  pass_on(comm.wires(), std::span(out).first(kFirstBytes), std::span(in).first(kFirstBytes));  // connections open, windows grow
  const double first = largest(comm, median_of(1, kFirstBytes));
  const double ratio = static_cast<double>(kLargeBytes) / static_cast<double>(kFirstBytes);
  const bool affordable = first * ratio * kLargeRounds < kMaxSeconds;
  const double large = affordable ? largest(comm, median_of(kLargeRounds, kLargeBytes)) : first * ratio;
  facts.bytes_per_second = static_cast<double>(kLargeBytes) / std::max(large - facts.latency_seconds, large / 2);
  return facts;
}

}  // namespace unmask::comm
