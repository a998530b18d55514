// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "cluster/rank_record.h"
#include "comm/communicator.h"

namespace unmask::comm::threads {

class Hub;

/// A job whose ranks are threads of this process: the same exchange as over MPI, under a debugger or a sanitizer.
class ThreadWorld {
 public:
  /// records[rank], if there are any, must outlive the world and its communicators.
  explicit ThreadWorld(std::int64_t num_ranks, Deadline deadline = {}, std::span<cluster::RankRecord> records = {});
  ~ThreadWorld();

  std::int64_t num_ranks() const { return num_ranks_; }

  /// One rank's end, to be taken once per rank and used by one thread. A rank whose communicator has died counts as lost:
  /// who waits for more from it fails at once. May outlive the world.
  std::unique_ptr<Communicator> communicator(Rank rank);

  /// Runs body(communicator) for every rank on a thread of its own and rethrows the exception that came first, if any.
  void run(const std::function<void(Communicator&)>& body);

 private:
  std::int64_t num_ranks_;
  std::shared_ptr<Hub> hub_;
  std::span<cluster::RankRecord> records_;
};

}  // namespace unmask::comm::threads
