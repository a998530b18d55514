// SPDX-License-Identifier: Apache-2.0
#include "comm/collectives.h"

#include <algorithm>

#include "base/error.h"
#include "comm/flight.h"

namespace unmask::comm {
namespace {

constexpr std::uint64_t kMaxBlobBytes = std::uint64_t{1} << 40;  // more than any host has: a wrong number, not a blob

std::span<std::byte> bytes_of(std::uint64_t& number) { return std::as_writable_bytes(std::span(&number, 1)); }

/// A buffer for a blob whose size another rank told.
Bytes make_room(const PointToPoint& wires, std::uint64_t bytes, Rank from) {
  require(bytes <= kMaxBlobBytes, ExitCode::kPeerLost, "expected a blob of at most {} bytes, rank {} (host {}) announces {}",
          kMaxBlobBytes, from, wires.job().hosts[from.at()], bytes);
  return Bytes(bytes);
}

}  // namespace

std::vector<Bytes> all_gather(PointToPoint& wires, std::span<const std::byte> mine) {
  const auto& job = wires.job();
  std::vector<std::uint64_t> sizes(size(job.num_ranks()));
  sizes[job.rank.at()] = mine.size();
  Flight announce(wires, "all-gather, sizes");
  for_each_peer(job, [&](Rank peer) {
    announce.receive(Lane::kControl, peer, bytes_of(sizes[peer.at()]));
    announce.send(Lane::kControl, peer, bytes_of(sizes[job.rank.at()]));
  });
  announce.wait();

  std::vector<Bytes> all(size(job.num_ranks()));
  all[job.rank.at()].assign(mine.begin(), mine.end());
  Flight blobs(wires, "all-gather");
  for_each_peer(job, [&](Rank peer) {
    all[peer.at()] = make_room(wires, sizes[peer.at()], peer);
    if (!all[peer.at()].empty()) {
      blobs.receive(Lane::kControl, peer, all[peer.at()]);
    }
    if (!mine.empty()) {
      blobs.send(Lane::kControl, peer, mine);
    }
  });
  blobs.wait();
  return all;
}

//   place (rank counted from the root):  0 -> 4 -> 6 -> 7        a place's parent has its lowest set bit cleared;
//                                        0 -> 2 -> 3   4 -> 5    a place serves the bits below its own lowest one,
//                                        0 -> 1                  the largest first
Bytes broadcast(PointToPoint& wires, std::span<const std::byte> mine, Rank root) {
  const auto& job = wires.job();
  const std::int64_t num_ranks = job.num_ranks();
  const std::int64_t place = (job.rank.value - root.value + num_ranks) % num_ranks;
  const auto rank_at = [&](std::int64_t p) { return Rank((p + root.value) % num_ranks); };

  Bytes blob;
  std::uint64_t blob_bytes = mine.size();
  std::int64_t reach = 1;
  if (place == 0) {
    blob.assign(mine.begin(), mine.end());
    while (reach < num_ranks) {
      reach *= 2;
    }
  } else {
    reach = place & -place;
    const Rank parent = rank_at(place - reach);
    Flight announce(wires, "broadcast, size");
    announce.receive(Lane::kControl, parent, bytes_of(blob_bytes));
    announce.wait();
    blob = make_room(wires, blob_bytes, parent);
    Flight body(wires, "broadcast");
    body.receive(Lane::kControl, parent, blob);
    body.wait();
  }
  Flight onward(wires, "broadcast, onward");
  for (std::int64_t step = reach / 2; step > 0; step /= 2) {
    if (place + step < num_ranks) {
      onward.send(Lane::kControl, rank_at(place + step), bytes_of(blob_bytes));
      onward.send(Lane::kControl, rank_at(place + step), blob);
    }
  }
  onward.wait();
  return blob;
}

void barrier(PointToPoint& wires) {
  Flight flight(wires, "barrier");
  for_each_peer(wires.job(), [&](Rank peer) {
    flight.receive(Lane::kControl, peer, {});
    flight.send(Lane::kControl, peer, {});
  });
  flight.wait();
}

}  // namespace unmask::comm
