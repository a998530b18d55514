// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/trace.h"
#include "comm/accounts.h"
#include "comm/flight.h"

namespace unmask::comm {

/// The messages of a layer that go one way on one lane, in the order of their plan: a flight for each chunk that is waited for.
class Transit {
 public:
  struct Options {
    PointToPoint& wires;
    std::string_view operation;  ///< "dispatch, rows out"
    Trace::Track track;
    Accounts& accounts;
  };
  explicit Transit(const Options& options) : options_(options) {}

  /// Forgets the flights of the last layer, all of which have landed.
  void begin(std::int64_t layer);
  /// The messages of the next chunk go into a flight of their own.
  Flight& next(std::int64_t bytes);
  /// Looks at what is under way, in order: drives the transport.
  void nudge();
  /// Waits for flight i and those before it.
  void wait(std::size_t i);
  void wait_all() { wait(legs_.size()); }
  bool has_landed(std::size_t i);
  std::size_t size() const { return legs_.size(); }

 private:
  struct Leg {
    Flight flight;
    std::int64_t bytes;
    Trace::Clock::time_point begin;
  };
  void land();

  Options options_;
  std::vector<Leg> legs_;
  std::size_t landed_ = 0;
  std::int64_t layer_ = 0;
};

}  // namespace unmask::comm
