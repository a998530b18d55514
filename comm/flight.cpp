// SPDX-License-Identifier: Apache-2.0
#include "comm/flight.h"

#include <algorithm>
#include <set>
#include <string>
#include <thread>

#include "base/error.h"

namespace unmask::comm {
namespace {

using std::chrono::microseconds;

constexpr microseconds kEager{50};     // how long a peer on another core may take without a sleep of ours in its way
constexpr microseconds kMinRest{10};
constexpr microseconds kMaxRest{500};  // what a very late peer may find us asleep
constexpr int kRestShare = 8;          // sleeping an eighth of the time waited so far delays no answer by more than that

microseconds rest_after(std::chrono::duration<double> waited) {
  return std::clamp(std::chrono::duration_cast<microseconds>(waited / kRestShare), kMinRest, kMaxRest);
}

}  // namespace

std::string_view name(Lane lane) {
  switch (lane) {
    case Lane::kDispatch:
      return "dispatch";
    case Lane::kCombine:
      return "combine";
    case Lane::kTwinDispatch:
      return "dispatch2";
    case Lane::kTwinCombine:
      return "combine2";
    case Lane::kControl:
      return "control";
    case Lane::kPost:
      return "post";
    case Lane::kBeat:
      return "beat";
  }
  return "unknown";
}

void Flight::send(Lane lane, Rank to, std::span<const std::byte> bytes) {
  const auto start = [&] { open_.push_back(wires_.start_send(lane, to, bytes)); };
  meter_ != nullptr ? meter_->work(start) : start();
}

void Flight::receive(Lane lane, Rank from, std::span<std::byte> bytes) {
  open_.push_back(wires_.start_receive(lane, from, bytes));
}

bool Flight::progress() {
  return open_.empty() || (meter_ != nullptr ? meter_->look([&] { return look(); }) : look());
}

void Flight::nudge() {
  const auto look_in_order = [&] {
    const auto first_open = std::find_if(open_.begin(), open_.end(), [](const auto& operation) { return !operation->test(); });
    open_.erase(open_.begin(), first_open);
    return open_.empty();
  };
  if (!open_.empty()) {
    meter_ != nullptr ? meter_->look(look_in_order) : look_in_order();
  }
}

bool Flight::look() {
  std::erase_if(open_, [](const auto& operation) { return operation->test(); });
  return open_.empty();
}

std::int64_t Flight::bytes_done() const {
  std::int64_t bytes = 0;
  for (const auto& operation : open_) {
    bytes += operation->bytes_done();
  }
  return bytes;
}

void Flight::wait() {
  Stopwatch since_movement;
  auto seen = std::pair(open_.size(), bytes_done());
  while (!progress()) {
    const auto waited = since_movement.elapsed();
    if (waited < kEager) {
      std::this_thread::yield();
      continue;
    }
    if (const auto now = std::pair(open_.size(), bytes_done()); now != seen) {
      seen = now;
      since_movement = Stopwatch();
      continue;
    }
    if (const auto overdue = wires_.waits({operation_, missing().description().peer, waited})) {
      expire(*overdue);
    }
    wires_.rest(rest_after(waited));
  }
}

/// A receive tells more than a send: the peer has not come. A send that is stuck only says that it does not take.
const Operation& Flight::missing() const {
  const auto found = std::find_if(open_.begin(), open_.end(), [](const auto& operation) {
    return operation->description().kind == Operation::Kind::kReceive;
  });
  return found != open_.end() ? **found : *open_.front();
}

void Flight::expire(const Overdue& overdue) const {
  const auto of_overdue = std::find_if(open_.begin(), open_.end(), [&](const auto& operation) {
    return operation->description().peer == overdue.rank;
  });
  const Operation& first = of_overdue != open_.end() ? **of_overdue : missing();
  const auto& what = first.description();
  std::set<std::int32_t> others;
  for (const auto& operation : open_) {
    if (operation->description().peer != what.peer) {
      others.insert(operation->description().peer.value);
    }
  }
  fail_overdue(wires_, overdue,
               format("{}, lane {}, {}{} of {} bytes, {} seen{}", operation_, name(what.lane),
                      what.kind == Operation::Kind::kReceive ? "receive" : "send",
                      what.peer == overdue.rank ? "" : format(" with rank {}", what.peer), what.bytes, first.bytes_done(),
                      others.empty() ? std::string() : format("; also open: ranks {}", others)));
}

void fail_overdue(const PointToPoint& wires, const Overdue& overdue, std::string_view what) {
  const double seconds = overdue.silence.count();
  fail(ExitCode::kPeerLost, "waited {:.{}f} s for rank {} (host {}): {}{}{}", seconds, seconds < 1 ? 2 : 1, overdue.rank,
       wires.job().hosts[overdue.rank.at()], overdue.why, overdue.why.empty() ? "" : "; ", what);
}

}  // namespace unmask::comm
