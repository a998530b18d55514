// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "cluster/rank_record.h"
#include "comm/point_to_point.h"

namespace unmask::comm {

/// Who of the ranks is still there. Every rank tells every other one ten times within the deadline that it lives and how far its
/// work has come, from wherever it works or waits, on a lane of their own. So a rank that loads or computes for long is waited
/// for, and one that is stopped, dead or cut off is known as such by all, also by those who wait for somebody else.
///
///   works():  a step forward -> pulse of the record, beats out if it is time
///   waits():  no step        -> the same, beats in; somebody silent for the deadline, or nobody working: overdue
///
/// Time counts only as far as this rank looked around in it: one that was itself stopped blames nobody.
class Vigil {
 public:
  Vigil(PointToPoint& wires, cluster::RankRecord& record);

  void works();
  /// Between looks at messages: neither a step forward nor a reason to give up.
  void looks();
  std::optional<Overdue> waits(const Wait& wait);

  /// Tells that this rank leaves in order, and takes in what the others said before they left, for a short while.
  void leave();

 private:
  using Clock = std::chrono::steady_clock;
  struct Beat {
    std::uint64_t steps = 0;
    std::uint64_t leaves = 0;
  };
  struct Peer {
    Clock::duration heard{};  ///< in time awake
    std::uint64_t steps = 0;
    bool left = false;
    Beat out;
    std::unique_ptr<Operation> sending;
  };

  Clock::duration interval() const;
  void pass_time();
  void send_beats(std::uint64_t leaves);
  void take_beats();
  bool hears_nobody(Clock::duration limit) const;
  std::optional<Rank> silent_rank(Rank awaited, Clock::duration limit) const;

  PointToPoint& wires_;
  cluster::RankRecord& record_;
  std::vector<Peer> peers_;
  std::uint64_t steps_ = 0;       ///< of this rank
  std::uint32_t looks_ = 0;
  bool waiting_ = false;          ///< the record says for whom
  Clock::time_point looked_ = Clock::now();
  Clock::time_point next_beat_ = Clock::now();
  Clock::duration awake_{};
  Clock::duration last_step_{};   ///< of any rank, in time awake
};

}  // namespace unmask::comm
