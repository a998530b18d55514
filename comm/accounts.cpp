// SPDX-License-Identifier: Apache-2.0
#include "comm/accounts.h"

#include <algorithm>

namespace unmask::comm {

void Accounts::team_does(std::string_view what, std::int64_t layer, std::int64_t chunk) {
  doing_.end = Trace::Clock::now();
  if (doing_.name == kExperts) {
    statistics.experts_seconds += std::chrono::duration<double>(doing_.end - doing_.begin).count();
  }
  if (trace_ != nullptr && !doing_.name.empty()) {
    trace_->add(doing_);
  }
  doing_ = {.name = what, .layer = layer, .chunk = chunk, .begin = doing_.end, .end = {}};
}

void Accounts::landed(Trace::Span messages) {
  if (trace_ != nullptr && messages.bytes > 0) {
    auto& last = last_landing_[static_cast<std::size_t>(messages.track)];
    messages.end = Trace::Clock::now();
    messages.begin = std::max(messages.begin, last);
    last = messages.end;
    trace_->add(messages);
  }
}

ExchangeStatistics Accounts::summary(const LinkFacts& link) const {
  ExchangeStatistics now = statistics;
  now.wait_seconds = wait_seconds;
  if (link.bytes_per_second > 0) {  // rows out and rows back, one after the other
    now.alone_seconds = static_cast<double>(std::max(now.wire_bytes, bytes_in)) / link.bytes_per_second +
                        2 * static_cast<double>(now.num_layers) * link.latency_seconds;
  }
  now.cpu_seconds = meter.seconds();
  return now;
}

}  // namespace unmask::comm
