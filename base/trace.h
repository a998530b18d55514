// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace unmask {

/// What one rank did when, for a picture of the run (--trace). Used by one thread at a time.
class Trace {
 public:
  using Clock = std::chrono::steady_clock;
  /// What goes on side by side on a rank: the team's work, and the messages of each lane and direction.
  enum class Track : std::uint8_t { kWork, kRowsOut, kRowsIn, kSumsOut, kSumsIn };
  static constexpr std::size_t kNumTracks = 5;
  struct Span {
    std::string_view name;  ///< of static storage
    Track track = Track::kWork;
    std::int64_t layer = 0;  ///< exchanges so far
    std::int64_t chunk = -1;
    std::int64_t bytes = 0;
    Clock::time_point begin, end;
  };
  static constexpr std::size_t kMaxSpans = std::size_t{1} << 18;  // 20 MB; what comes later is left out, and counted

  void add(const Span& span) {
    if (spans_.size() < kMaxSpans) {
      spans_.push_back(span);
    } else {
      ++left_out_;
    }
  }
  std::span<const Span> spans() const { return spans_; }
  std::int64_t left_out() const { return left_out_; }

 private:
  std::vector<Span> spans_;
  std::int64_t left_out_ = 0;
};

}  // namespace unmask
