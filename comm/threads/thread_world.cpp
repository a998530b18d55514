// SPDX-License-Identifier: Apache-2.0
#include "comm/threads/thread_world.h"

#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "comm/lane_communicator.h"
#include "comm/threads/hub.h"

namespace unmask::comm::threads {

ThreadWorld::ThreadWorld(std::int64_t num_ranks, Deadline deadline) : num_ranks_(num_ranks) {
  constexpr std::int64_t kMaxRanks = 256;  // mailboxes grow with the square
  require(num_ranks >= 1 && num_ranks <= kMaxRanks, ExitCode::kUsage, "expected 1 to {} ranks as threads, found {}", kMaxRanks,
          num_ranks);
  hub_ = std::make_shared<Hub>(num_ranks, deadline);
}

ThreadWorld::~ThreadWorld() = default;

std::unique_ptr<Communicator> ThreadWorld::communicator(Rank rank) { return make_communicator(make_wires(hub_, rank)); }

void ThreadWorld::run(const std::function<void(Communicator&)>& body) {
  hub_ = std::make_shared<Hub>(num_ranks_, hub_->deadline());  // a run leaves nothing behind for the next one
  std::mutex mutex;
  std::exception_ptr first;
  std::vector<std::thread> threads;
  for (Rank rank(0); rank.value < num_ranks_; ++rank) {
    threads.emplace_back([&, rank] {
      // Dies after the catch: the others fail because this rank has left, so its own error is noted before theirs.
      const auto comm = communicator(rank);
      try {
        body(*comm);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!first) {
          first = std::current_exception();
        }
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  if (first) {
    std::rethrow_exception(first);
  }
}

}  // namespace unmask::comm::threads
