// SPDX-License-Identifier: Apache-2.0
#include "comm/threads/thread_world.h"

#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"
#include "comm/lane_communicator.h"
#include "comm/threads/hub.h"

namespace unmask::comm::threads {

ThreadWorld::ThreadWorld(std::int64_t num_ranks, Deadline deadline, std::span<cluster::RankRecord> records)
    : num_ranks_(num_ranks), records_(records) {
  constexpr std::int64_t kMaxRanks = 256;  // mailboxes grow with the square
  require(num_ranks >= 1 && num_ranks <= kMaxRanks, ExitCode::kUsage, "expected 1 to {} ranks as threads, found {}", kMaxRanks,
          num_ranks);
  UNMASK_CHECK(records.empty() || std::cmp_greater_equal(records.size(), num_ranks), "{} records for {} ranks", records.size(), num_ranks);
  hub_ = std::make_shared<Hub>(num_ranks, deadline);
}

ThreadWorld::~ThreadWorld() = default;

std::unique_ptr<Communicator> ThreadWorld::communicator(Rank rank) {
  return make_communicator(make_wires(hub_, rank), records_.empty() ? nullptr : &records_[rank.at()]);
}

void ThreadWorld::run(const std::function<void(Communicator&)>& body) {
  hub_ = std::make_shared<Hub>(num_ranks_, hub_->deadline());  // a run leaves nothing behind for the next one
  std::mutex mutex;
  std::exception_ptr first;
  std::vector<std::thread> threads;
  const auto note = [&](std::exception_ptr error) {
    const std::lock_guard lock(mutex);
    if (!first) {
      first = std::move(error);
    }
  };
  const auto start = [&](Rank rank) {
    threads.emplace_back([&, rank] {
      // Dies after the catch: the others fail because this rank has left, so its own error is noted before theirs.
      const auto comm = communicator(rank);
      try {
        body(*comm);
      } catch (...) {
        note(std::current_exception());
      }
    });
  };
  for (Rank rank(0); rank.value < num_ranks_; ++rank) {
    try {
      start(rank);
    } catch (const std::system_error& error) {
      note(std::make_exception_ptr(Error(ExitCode::kBadInput, format("rank {} of {} cannot have a thread: {}: use fewer ranks, or allow "
                                                                     "this user more processes", rank, num_ranks_, error.what()))));
      for (; rank.value < num_ranks_; ++rank) {
        hub_->leave(rank);  // those that run find out at once
      }
    }
  }
  for (auto& thread : threads) {
    thread.join();
  }
  if (first) {
    std::rethrow_exception(first);
  }
}

}  // namespace unmask::comm::threads
