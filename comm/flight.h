// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "comm/cpu_meter.h"
#include "comm/point_to_point.h"

namespace unmask::comm {

/// Messages in flight that belong to one operation ("rows out") and are waited for together. The buffers must outlive it.
class Flight {
 public:
  Flight(PointToPoint& wires, std::string_view operation, CpuMeter* meter = nullptr)
      : wires_(wires), operation_(operation), meter_(meter) {}

  void send(Lane lane, Rank to, std::span<const std::byte> bytes);
  void receive(Lane lane, Rank from, std::span<std::byte> bytes);

  /// Looks once at everything that is open; true when nothing is. For work that goes on meanwhile.
  bool progress();
  bool is_done() const { return open_.empty(); }
  /// Looks at the first open message, and at the next ones as long as those before are done: drives the transport, and costs
  /// little where many messages are open.
  void nudge();

  /// Polls until nothing is open: at full speed for the first 50 us, giving the core away between looks, then with sleeps
  /// that grow with the time waited. Error(kPeerLost) once nothing has moved for the deadline; says who, what and how much.
  void wait();

 private:
  bool look();
  [[noreturn]] void expire() const;
  std::int64_t bytes_done() const;

  PointToPoint& wires_;
  std::string_view operation_;
  CpuMeter* meter_;  ///< of what driving the transport costs; or null
  std::vector<std::unique_ptr<Operation>> open_;
};

}  // namespace unmask::comm
