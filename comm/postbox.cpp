// SPDX-License-Identifier: Apache-2.0
#include "comm/postbox.h"

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"

namespace unmask::comm {
namespace {

constexpr std::size_t kMaxArriving = 64;  // receives in flight; the rest stays where it is

}  // namespace

void Postbox::forget_sent() {
  // In order: a transport completes messages to one peer in the order of sending; a slow peer keeps the others' copies a while.
  while (!leaving_.empty() && leaving_.front().operation->test()) {
    leaving_.pop_front();
  }
}

void Postbox::post(Rank to, std::span<const std::byte> message) {
  const std::int64_t limit = wires_.max_probed_bytes();
  require(std::cmp_less_equal(message.size(), limit), ExitCode::kBadInput,
          "a message to rank {} may have {} bytes, found {}: ask for less in one request", to, limit, message.size());
  if (wires_.job().rank == to) {
    arriving_.push_back({to, Bytes(message.begin(), message.end()), nullptr});
    return;
  }
  forget_sent();
  auto& leaving = leaving_.emplace_back();
  leaving.message.assign(message.begin(), message.end());
  leaving.operation = wires_.start_send(Lane::kPost, to, leaving.message);
}

std::optional<Communicator::Posted> Postbox::poll() {
  while (arriving_.size() < kMaxArriving) {
    const auto incoming = wires_.probe(Lane::kPost);
    if (!incoming) {
      break;
    }
    auto& arriving = arriving_.emplace_back();
    arriving.from = incoming->from;
    arriving.message.resize(size(incoming->bytes));
    arriving.operation = wires_.start_receive(Lane::kPost, incoming->from, arriving.message);
  }
  for (auto it = arriving_.begin(); it != arriving_.end(); ++it) {
    const bool earlier_one_open =
        std::any_of(arriving_.begin(), it, [&](const Arriving& earlier) { return earlier.from == it->from; });
    if (!earlier_one_open && (it->operation == nullptr || it->operation->test())) {
      Communicator::Posted posted{it->from, std::move(it->message)};
      arriving_.erase(it);
      return posted;
    }
  }
  return std::nullopt;
}

void Postbox::flush() {
  const auto limit = wires_.job().deadline.limit;
  Stopwatch since_movement;
  auto open = leaving_.size();
  for (forget_sent(); !leaving_.empty(); forget_sent()) {
    if (leaving_.size() != open) {
      open = leaving_.size();
      since_movement = Stopwatch();
    }
    require(limit.count() == 0 || since_movement.elapsed() < limit, ExitCode::kPeerLost,
            "waited {:.3g} s for rank {} (host {}): {} posted messages not taken", limit.count(),
            leaving_.front().operation->description().peer,
            wires_.job().hosts[leaving_.front().operation->description().peer.at()], leaving_.size());
    wires_.rest(std::chrono::microseconds(100));
  }
}

}  // namespace unmask::comm
