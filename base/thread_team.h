// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

namespace unmask {

/// The threads of one rank. The caller is the team's first member; the others sleep between calls after a short spin.
class ThreadTeam {
 public:
  explicit ThreadTeam(int num_threads);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return num_threads_; }

  /// Runs body(member) once on every member, 0 (the caller) to size() - 1, and returns when all are done.
  /// An exception of any member is rethrown here (the lowest member's, if several threw).
  void run(const std::function<void(int)>& body);

  /// Runs body(i) for every i in [0, count), handed out one by one to whoever is free: i must not matter to the result.
  void for_each(std::int64_t count, const std::function<void(std::int64_t)>& body);
  /// The same with body(i, member), for what each member keeps to itself.
  void for_each_on(std::int64_t count, const std::function<void(std::int64_t, int)>& body);

  /// What the caller does after each task of for_each that it worked on itself, until another is set; may be empty. For what
  /// must be looked after meanwhile: MPI makes progress only when its own thread calls it. It must not use the team.
  void set_between_tasks(std::function<void()> look) { between_tasks_ = std::move(look); }

 private:
  void work(int member);
  void look(int member) const {
    if (member == 0 && between_tasks_) {
      between_tasks_();
    }
  }

  int num_threads_;
  const std::function<void(int)>* body_ = nullptr;
  std::function<void()> between_tasks_;
  std::vector<std::exception_ptr> errors_;
  std::atomic<std::uint32_t> generation_ = 0;  ///< counts calls of run(); a change wakes the members
  std::atomic<std::uint32_t> running_ = 0;     ///< members that have not finished the current call
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace unmask
