// SPDX-License-Identifier: Apache-2.0
#include "base/thread_team.h"

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace unmask {
namespace {

constexpr int kSpins = 2000;  // some 20 us: as long as a wake-up through the kernel costs

/// Waits until `value` differs from `old`: spins briefly, then sleeps.
std::uint32_t wait_for_change(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  for (int i = 0; i < kSpins; ++i) {
    if (const auto now = value.load(std::memory_order_acquire); now != old) {
      return now;
    }
    __builtin_ia32_pause();
  }
  value.wait(old, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

void end(std::vector<std::thread>& threads, std::atomic<bool>& stop, std::atomic<std::uint32_t>& generation) {
  stop = true;
  generation.fetch_add(1, std::memory_order_release);
  generation.notify_all();
  for (auto& thread : threads) {
    thread.join();
  }
}

}  // namespace

ThreadTeam::ThreadTeam(int num_threads) : num_threads_(std::max(1, num_threads)) {
  errors_.resize(static_cast<std::size_t>(num_threads_));
  try {
    for (int member = 1; member < num_threads_; ++member) {
      threads_.emplace_back([this, member] { work(member); });
    }
  } catch (const std::system_error& error) {  // those that run must end, or their destructors would end the program
    end(threads_, stop_, generation_);
    fail(ExitCode::kUsage, "expected to start {} threads, the system stopped at {}: {}: ask for fewer", num_threads_,
         threads_.size() + 1, error.what());
  }
}

ThreadTeam::~ThreadTeam() { end(threads_, stop_, generation_); }

void ThreadTeam::work(int member) {
  std::uint32_t seen = 0;
  while (true) {
    seen = wait_for_change(generation_, seen);
    if (stop_) {
      return;
    }
    try {
      (*body_)(member);
    } catch (...) {
      errors_[static_cast<std::size_t>(member)] = std::current_exception();
    }
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      running_.notify_one();
    }
  }
}

void ThreadTeam::run(const std::function<void(int)>& body) {
  if (num_threads_ == 1) {
    body(0);
    return;
  }
  body_ = &body;
  running_.store(static_cast<std::uint32_t>(num_threads_ - 1), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  try {
    body(0);
  } catch (...) {
    errors_[0] = std::current_exception();
  }
  for (auto left = running_.load(std::memory_order_acquire); left != 0;) {
    left = wait_for_change(running_, left);
  }
  for (auto& error : errors_) {
    if (error) {
      const auto first = std::exchange(error, nullptr);
      std::fill(errors_.begin(), errors_.end(), nullptr);
      std::rethrow_exception(first);
    }
  }
}

void ThreadTeam::for_each(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  for_each_on(count, [&](std::int64_t i, int) { body(i); });
}

void ThreadTeam::for_each_on(std::int64_t count, const std::function<void(std::int64_t, int)>& body) {
  if (count <= 1 || num_threads_ == 1) {
    for (std::int64_t i = 0; i < count; ++i) {
      body(i, 0);
      look(0);
    }
    return;
  }
  std::atomic<std::int64_t> next = 0;
  run([&](int member) {
    for (auto i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      body(i, member);
      look(member);
    }
  });
}

}  // namespace unmask
