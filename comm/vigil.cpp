// SPDX-License-Identifier: Apache-2.0
#include "comm/vigil.h"

#include <algorithm>
#include <thread>

#include "base/clock.h"
#include "base/error.h"

namespace unmask::comm {
namespace {

using namespace std::chrono_literals;

constexpr int kBeatsPerDeadline = 10;
constexpr std::chrono::milliseconds kMaxInterval{5000};
constexpr std::chrono::milliseconds kToldAfter{50};   // shorter waits are not worth a line in the record
constexpr std::chrono::milliseconds kMaxAlone{1500};
constexpr std::uint32_t kLooksPerClock = 16;
constexpr double kLeaveSeconds = 1;

std::chrono::steady_clock::duration as_ticks(std::chrono::duration<double> time) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(time);
}

}  // namespace

Vigil::Vigil(PointToPoint& wires, cluster::RankRecord& record) : wires_(wires), record_(record), peers_(size(wires.job().num_ranks())) {
  record_.introduce(narrow<std::int32_t>(wires.job().rank.value), wires.job().hosts[wires.job().rank.at()]);
}

Vigil::Clock::duration Vigil::interval() const {
  const auto limit = as_ticks(wires_.job().deadline.limit);
  return limit.count() == 0 ? kMaxInterval : std::min<Clock::duration>(limit / kBeatsPerDeadline, kMaxInterval);
}

void Vigil::pass_time() {
  record_.beat();
  const auto now = Clock::now();
  awake_ += std::min(now - looked_, interval());
  looked_ = now;
  if (now >= next_beat_) {
    next_beat_ = now + interval();
    send_beats(0);
    take_beats();
  }
}

void Vigil::works() {
  ++steps_;
  if (waiting_) {
    waiting_ = false;
    record_.wait_for("");
  }
  pass_time();
  last_step_ = awake_;
}

void Vigil::looks() {
  if (++looks_ % kLooksPerClock == 0) {
    pass_time();
  }
}

void Vigil::send_beats(std::uint64_t leaves) {
  for_each_peer(wires_.job(), [&](Rank rank) {
    Peer& peer = peers_[rank.at()];
    if (peer.left || (peer.sending != nullptr && !peer.sending->test())) {
      return;  // it does not take what was sent before: more would only pile up
    }
    peer.out = {steps_, leaves};
    peer.sending = wires_.start_send(Lane::kBeat, rank, std::as_bytes(std::span(&peer.out, 1)));
  });
}

void Vigil::take_beats() {
  while (const auto incoming = wires_.probe(Lane::kBeat)) {
    Beat beat;
    require(incoming->bytes == sizeof beat, ExitCode::kPeerLost, "rank {} (host {}) sends {} bytes as a sign of life, expected {}",
            incoming->from, wires_.job().hosts[incoming->from.at()], incoming->bytes, sizeof beat);
    const auto operation = wires_.start_receive(Lane::kBeat, incoming->from, std::as_writable_bytes(std::span(&beat, 1)));
    while (!operation->test()) {  // it has arrived: its size is known
    }
    Peer& peer = peers_[incoming->from.at()];
    peer.heard = awake_;
    peer.left = beat.leaves != 0;
    if (std::exchange(peer.steps, beat.steps) != beat.steps) {
      last_step_ = awake_;
    }
  }
}

/// A rank that was not heard of for the limit: the awaited one if it is among them.
std::optional<Rank> Vigil::silent_rank(Rank awaited, Clock::duration limit) const {
  std::optional<Rank> found;
  for_each_peer(wires_.job(), [&](Rank rank) {
    const Peer& peer = peers_[rank.at()];
    if (awake_ - peer.heard > limit && (rank == awaited || (!found && !peer.left))) {
      found = rank;
    }
  });
  return found;
}

bool Vigil::hears_nobody(Clock::duration limit) const {
  bool nobody = true;
  for_each_peer(wires_.job(), [&](Rank rank) { nobody = nobody && awake_ - peers_[rank.at()].heard > limit - interval(); });
  return nobody;
}

std::optional<Overdue> Vigil::waits(const Wait& wait) {
  pass_time();
  if (!waiting_ && wait.waited > kToldAfter) {
    waiting_ = true;
    record_.wait_for(format("for rank {} (host {}): {}", wait.awaited, wires_.job().hosts[wait.awaited.at()], wait.operation));
  }
  const auto limit = as_ticks(wires_.job().deadline.limit);
  if (limit.count() == 0 || awake_ < limit) {
    return std::nullopt;
  }
  if (awake_ - peers_[wait.awaited.at()].heard > limit || awake_ - last_step_ > limit) {
    take_beats();  // not to blame anybody whose word is here
  }
  // A rank that hears nobody is more likely cut off itself: the others, who hear each other, are to speak first.
  const bool alone = std::ssize(peers_) > 2 && hears_nobody(limit);
  const auto patience = alone ? limit + std::min<Clock::duration>(limit / 4, kMaxAlone) : limit;
  if (const auto silent = silent_rank(wait.awaited, patience)) {
    return Overdue{*silent, awake_ - peers_[silent->at()].heard, "no sign of life"};
  }
  if (awake_ - last_step_ > patience && wait.waited > patience) {
    return Overdue{wait.awaited, awake_ - last_step_, "it lives, but no rank has made a step since"};
  }
  return std::nullopt;
}

void Vigil::leave() {
  if (wires_.job().deadline.limit.count() == 0 || wires_.transport() == "threads") {
    return;  // nobody gives up on anybody; or who has left is known in another way
  }
  send_beats(1);
  const auto all_left = [&] {
    bool all = true;
    for_each_peer(wires_.job(), [&](Rank rank) { all = all && peers_[rank.at()].left; });
    return all;
  };
  // A message that nobody has taken is a warning of the transport's in the end (UCX).
  for (const Stopwatch clock; !all_left() && clock.seconds() < kLeaveSeconds; std::this_thread::sleep_for(100us)) {
    take_beats();
    record_.beat();
  }
}

}  // namespace unmask::comm
