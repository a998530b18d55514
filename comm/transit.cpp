// SPDX-License-Identifier: Apache-2.0
#include "comm/transit.h"

namespace unmask::comm {

void Transit::begin(std::int64_t layer) {
  layer_ = layer;
  legs_.clear();
  landed_ = 0;
}

Flight& Transit::next(std::int64_t bytes) {
  legs_.push_back({Flight(options_.wires, options_.operation, &options_.accounts.meter), bytes, Trace::Clock::now()});
  return legs_.back().flight;
}

void Transit::land() {
  const Leg& leg = legs_[landed_];
  options_.accounts.landed({.name = options_.operation, .track = options_.track, .layer = layer_, .chunk = static_cast<std::int64_t>(landed_),
                            .bytes = leg.bytes, .begin = leg.begin, .end = {}});
  ++landed_;
}

void Transit::nudge() {
  while (landed_ < legs_.size()) {
    legs_[landed_].flight.nudge();
    if (!legs_[landed_].flight.is_done()) {
      return;
    }
    land();
  }
}

bool Transit::has_landed(std::size_t i) {
  nudge();
  return landed_ > i || landed_ == legs_.size();
}

void Transit::wait(std::size_t i) {
  while (landed_ <= i && landed_ < legs_.size()) {
    legs_[landed_].flight.wait();
    land();
  }
}

}  // namespace unmask::comm
