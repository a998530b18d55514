// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/clock.h"
#include "base/trace.h"
#include "comm/cpu_meter.h"
#include "comm/exchange.h"

namespace unmask::comm {

/// What the exchanges of a rank do and cost: an exchange and its twin keep one account, for the rank has one team and one link.
/// Told to a trace, the spans of a track lie one behind the other.
class Accounts {
 public:
  explicit Accounts(Trace* trace) : trace_(trace) {}

  static constexpr std::string_view kExperts = "experts";
  /// Begins a layer: its number, counted over both exchanges.
  std::int64_t next_layer() { return static_cast<std::int64_t>(++statistics.num_layers); }
  /// Ends what the team has been doing, and begins something else.
  void team_does(std::string_view what, std::int64_t layer, std::int64_t chunk = -1);
  /// Some messages have landed. They had the track for themselves since those before have, or since they began.
  void landed(Trace::Span messages);

  /// All that is known now, for a link of these facts.
  ExchangeStatistics summary(const LinkFacts& link) const;

  ExchangeStatistics statistics;  ///< what is counted
  double wait_seconds = 0;
  std::uint64_t bytes_in = 0;
  CpuMeter meter;
  Stopwatch since_look;

 private:
  Trace* trace_;  ///< or null
  Trace::Span doing_;
  std::array<Trace::Clock::time_point, Trace::kNumTracks> last_landing_;
};

}  // namespace unmask::comm
