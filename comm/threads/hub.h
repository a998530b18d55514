// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/point_to_point.h"
#include "comm/threads/mailbox.h"

namespace unmask::comm::threads {

/// What the ranks of one process share: a mailbox per (receiver, sender, lane), a bell per rank, who has left.
class Hub {
 public:
  Hub(std::int64_t num_ranks, Deadline deadline);

  std::int64_t num_ranks() const { return num_ranks_; }
  const std::string& host() const { return host_; }
  Deadline deadline() const { return deadline_; }

  Mailbox& mailbox(Rank receiver, Rank sender, Lane lane);
  Bell& bell(Rank rank) { return bells_[rank.at()]; }

  void leave(Rank rank);
  bool has_left(Rank rank) const { return left_[rank.at()].load(std::memory_order_acquire); }

 private:
  std::int64_t num_ranks_;
  std::string host_;
  Deadline deadline_;
  std::vector<Mailbox> mailboxes_;  ///< [receiver, sender, lane]
  std::vector<Bell> bells_;
  std::vector<std::atomic<bool>> left_;
};

/// One rank's end of the hub.
std::unique_ptr<PointToPoint> make_wires(std::shared_ptr<Hub> hub, Rank rank);

}  // namespace unmask::comm::threads
