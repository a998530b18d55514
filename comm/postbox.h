// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>

#include "comm/point_to_point.h"

namespace unmask::comm {

/// Messages to any rank that nobody waits for.
///
///   sender:   post() -> copy, send in flight -> (given back at a later post or poll)
///   receiver: poll() -> probe, receive in flight -> handed out once complete, in order per sender
///
/// What a rank has not polled yet stays with the sender (or in the transport); posting never waits, so no rank can be held
/// up by a busy one.
class Postbox {
 public:
  explicit Postbox(PointToPoint& wires) : wires_(wires) {}

  void post(Rank to, std::span<const std::byte> message);
  std::optional<Communicator::Posted> poll();

  /// Waits for what is still on its way out, until the deadline (Error kPeerLost).
  void flush();

 private:
  struct Leaving {
    Bytes message;
    std::unique_ptr<Operation> operation;
  };
  struct Arriving {
    Rank from;
    Bytes message;
    std::unique_ptr<Operation> operation;
  };
  void forget_sent();

  PointToPoint& wires_;
  std::deque<Leaving> leaving_;
  std::deque<Arriving> arriving_;  ///< in order of probing
};

}  // namespace unmask::comm
