// SPDX-License-Identifier: Apache-2.0
#include "comm/clock_offsets.h"

#include <chrono>
#include <limits>

#include "base/byte_stream.h"
#include "comm/flight.h"
#include "comm/point_to_point.h"

namespace unmask::comm {
namespace {

constexpr int kRoundTrips = 16;

double now_seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double receive(PointToPoint& wires, Rank from) {
  double value = 0;
  Flight flight(wires, "clock alignment");
  flight.receive(Lane::kControl, from, std::as_writable_bytes(std::span(&value, 1)));
  flight.wait();
  return value;
}

void send(PointToPoint& wires, Rank to, double value) {
  Flight flight(wires, "clock alignment");
  flight.send(Lane::kControl, to, std::as_bytes(std::span(&value, 1)));
  flight.wait();
}

/// On rank 0: rank `peer`'s clock was read halfway between asking and hearing.
double offset_of(PointToPoint& wires, Rank peer) {
  double quickest = std::numeric_limits<double>::max();
  double offset = 0;
  for (int i = 0; i < kRoundTrips; ++i) {
    const double asked = now_seconds();
    send(wires, peer, asked);
    const double theirs = receive(wires, peer);
    const double heard = now_seconds();
    if (heard - asked < quickest) {
      quickest = heard - asked;
      offset = theirs - (asked + heard) / 2;
    }
  }
  return offset;
}

}  // namespace

std::vector<double> clock_offsets(Communicator& comm) {
  PointToPoint& wires = comm.wires();
  ByteWriter found;
  for (Rank peer(0); peer.value < comm.num_ranks(); ++peer) {
    if (comm.is_root()) {
      found.put(peer == comm.rank() ? 0.0 : offset_of(wires, peer));
    } else if (peer == comm.rank()) {
      for (int i = 0; i < kRoundTrips; ++i) {
        receive(wires, Rank(0));
        send(wires, Rank(0), now_seconds());
      }
    }
  }
  const Bytes all = comm.broadcast(found.take(), Rank(0));
  ByteReader reader(all, Rank(0));
  std::vector<double> offsets;
  while (!reader.empty()) {
    offsets.push_back(reader.get<double>());
  }
  return offsets;
}

}  // namespace unmask::comm
