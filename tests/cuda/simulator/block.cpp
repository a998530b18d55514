// SPDX-License-Identifier: Apache-2.0
#include "simulator/block.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/format.h"
#include "fiber.h"
#include "memory.h"
#include "simulator/hopper.h"

namespace simulator {
namespace {

constexpr unsigned kLanes = 32;
constexpr unsigned kMostThreads = 1024;
constexpr unsigned kMostSharedBytes = 227 * 1024;  // that a block may ask for on sm_90
constexpr std::size_t kGuardBytes = 128;           // behind dynamic shared memory

/// Where a thread waits, for messages.
struct Wait {
  const char* what;
  std::source_location where;
  unsigned mask;  // 0: the whole block
  const std::function<bool()>* is_ready = nullptr;  // nobody else
};

std::string described(const Wait& wait) {
  const std::string_view path = wait.where.file_name();
  const std::string place = unmask::format("{} at {}:{}", wait.what, path.substr(path.rfind('/') + 1), wait.where.line());
  return wait.mask == 0 ? place : unmask::format("{} with lanes {:#010x}", place, wait.mask);
}

/// Lanes on their way to meet, of one mask.
struct Meeting {
  unsigned mask;
  unsigned arrived = 0;
  const char* what = nullptr;
  void* payloads[kLanes] = {};
};

struct Thread {
  std::unique_ptr<Fiber> fiber;  // while it runs
  unsigned index = 0;
  std::optional<Wait> wait;
  bool done = false;
};

/// The block that this host thread runs.
class Block {
 public:
  void run(const Launch& launch, const std::function<void()>& body, bool backwards);
  int meet_all(int value, const Wait& wait);
  void meet_lanes(void* payload, Act act, const Wait& wait);
  void wait_until(const Wait& wait) { sleep(wait); }
  std::byte* shared() { return reinterpret_cast<std::byte*>(shared_.data()); }
  bool runs() const { return body_ != nullptr; }

 private:
  void prepare(const Launch& launch, bool backwards);
  void step(Thread& thread);
  void live(Thread& thread);
  void sleep(const Wait& wait);
  void wake(Thread& thread);
  void open_barrier();
  bool wake_ready();
  std::string standstill() const;
  void check_shared_memory() const;

  struct alignas(128) Line {
    std::byte bytes[128];
  };
  const Launch* launch_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  std::vector<Thread> threads_;
  std::deque<unsigned> ready_;
  std::vector<std::unique_ptr<Fiber>> spare_;
  std::vector<std::vector<Meeting>> meetings_;  // [warps]
  unsigned alive_ = 0, at_barrier_ = 0;
  Wait barrier_{};  // of the first that came
  int barrier_sum_ = 0, barrier_result_ = 0;
  Thread* current_ = nullptr;
  std::exception_ptr error_;
  std::vector<Line> shared_;
};

thread_local Block block;

void Block::prepare(const Launch& launch, bool backwards) {
  launch_ = &launch;
  threads_.resize(launch.threads);
  meetings_.assign((launch.threads + kLanes - 1) / kLanes, {});
  ready_.clear();
  for (unsigned i = 0; i < launch.threads; ++i) {
    const unsigned index = backwards ? launch.threads - 1 - i : i;
    threads_[index].index = index;
    threads_[index].done = false;
    threads_[index].wait.reset();
    threads_[index].fiber.reset();
    ready_.push_back(index);
  }
  alive_ = launch.threads;
  at_barrier_ = 0;
  barrier_sum_ = 0;
  error_ = nullptr;
  shared_.resize((launch.shared_bytes + 2 * kGuardBytes) / sizeof(Line));
  std::memset(shared(), 0xFF, launch.shared_bytes);
  std::memset(shared() + launch.shared_bytes, kGuardByte, kGuardBytes);
}

void Block::run(const Launch& launch, const std::function<void()>& body, bool backwards) {
  prepare(launch, backwards);
  body_ = &body;
  do {
    while (!ready_.empty() && !error_) {
      Thread& thread = threads_[ready_.front()];
      ready_.pop_front();
      step(thread);
    }
  } while (!error_ && wake_ready());
  body_ = nullptr;
  const bool has_waited = end_block();
  if (error_) {
    std::rethrow_exception(error_);
  }
  if (alive_ > 0) {
    throw Fault(standstill());
  }
  if (!has_waited) {
    throw Fault(unmask::format("{}: block ({}, {}, {}) ended without waiting for its copies of boxes or products", launch_->kernel, blockIdx.x,
                               blockIdx.y, blockIdx.z));
  }
  check_shared_memory();
}

void Block::step(Thread& thread) {
  current_ = &thread;
  threadIdx = {thread.index, 0, 0};
  if (!thread.fiber) {
    if (spare_.empty()) {
      spare_.push_back(std::make_unique<Fiber>());
    }
    thread.fiber = std::move(spare_.back());
    spare_.pop_back();
    thread.fiber->start([](void* self) { block.live(*static_cast<Thread*>(self)); }, &thread);
  }
  thread.fiber->resume();
  if (thread.done) {
    spare_.push_back(std::move(thread.fiber));
    --alive_;
    if (at_barrier_ > 0 && at_barrier_ == alive_) {
      open_barrier();  // it waits only for those that still run
    }
  }
}

void Block::live(Thread& thread) {
  try {
    (*body_)();
  } catch (...) {
    error_ = std::current_exception();
  }
  thread.done = true;
}

void Block::sleep(const Wait& wait) {
  Thread& self = *current_;
  self.wait = wait;
  self.fiber->suspend();
}

void Block::wake(Thread& thread) {
  thread.wait.reset();
  ready_.push_back(thread.index);
}

int Block::meet_all(int value, const Wait& wait) {
  if (at_barrier_ == 0) {
    barrier_ = wait;
  } else if (barrier_.where.line() != wait.where.line() || barrier_.what != wait.what) {
    throw Fault(unmask::format("{}: threads of a block wait at different places, {} and (thread {}) {}", launch_->kernel,
                               described(barrier_), current_->index, described(wait)));
  }
  barrier_sum_ += value;
  ++at_barrier_;
  if (at_barrier_ == alive_) {
    open_barrier();
  } else {
    sleep(wait);
  }
  return barrier_result_;
}

void Block::open_barrier() {
  barrier_result_ = barrier_sum_;
  barrier_sum_ = 0;
  at_barrier_ = 0;
  for (Thread& thread : threads_) {
    if (thread.wait && thread.wait->mask == 0 && thread.wait->is_ready == nullptr) {
      wake(thread);
    }
  }
}

/// Those that wait for something to become true, and find it so.
bool Block::wake_ready() {
  try {
    for (Thread& thread : threads_) {
      if (!thread.done && thread.wait && thread.wait->is_ready != nullptr && (*thread.wait->is_ready)()) {
        wake(thread);
      }
    }
  } catch (...) {
    error_ = std::current_exception();
  }
  return !error_ && !ready_.empty();
}

void Block::meet_lanes(void* payload, Act act, const Wait& wait) {
  Thread& self = *current_;
  const unsigned warp = self.index / kLanes, lane = self.index % kLanes;
  if ((wait.mask >> lane & 1U) == 0) {
    throw Fault(unmask::format("{}: thread {} is not among those that meet in {}", launch_->kernel, self.index, described(wait)));
  }
  auto& meetings = meetings_[warp];
  auto meeting = std::find_if(meetings.begin(), meetings.end(), [&](const Meeting& m) { return (m.mask & wait.mask) != 0; });
  if (meeting == meetings.end()) {
    meeting = meetings.insert(meetings.end(), Meeting{.mask = wait.mask, .what = wait.what});
  }
  if (meeting->mask != wait.mask || std::string_view(meeting->what) != wait.what) {
    throw Fault(unmask::format("{}: thread {} comes to {} where lanes {:#010x} of its warp meet in {}", launch_->kernel, self.index,
                               described(wait), meeting->mask, meeting->what));
  }
  meeting->arrived |= 1U << lane;
  meeting->payloads[lane] = payload;
  if (meeting->arrived != meeting->mask) {
    sleep(wait);
    return;
  }
  const Meeting all = *meeting;
  meetings.erase(meeting);
  act(all.payloads, all.mask);
  for (unsigned other = 0; other < kLanes; ++other) {
    if (other != lane && (all.mask >> other & 1U) != 0) {
      wake(threads_[warp * kLanes + other]);
    }
  }
}

std::string Block::standstill() const {
  std::map<std::string, unsigned> places;
  for (const Thread& thread : threads_) {
    ++places[thread.done ? "have ended" : "wait in " + described(*thread.wait)];
  }
  std::string text = unmask::format("{}: block ({}, {}, {}) stands still, as of its {} threads", launch_->kernel, blockIdx.x, blockIdx.y,
                                    blockIdx.z, launch_->threads);
  for (const auto& [place, count] : places) {
    text += unmask::format(" {} {},", count, place);
  }
  text.pop_back();
  return text;
}

void Block::check_shared_memory() const {
  const auto* guard = reinterpret_cast<const std::byte*>(shared_.data()) + launch_->shared_bytes;
  if (!std::all_of(guard, guard + kGuardBytes, [](std::byte b) { return b == std::byte{kGuardByte}; })) {
    throw Fault(unmask::format("{}: block ({}, {}, {}) wrote behind its {} bytes of dynamic shared memory", launch_->kernel, blockIdx.x,
                               blockIdx.y, blockIdx.z, launch_->shared_bytes));
  }
}

}  // namespace

void run(const Launch& launch, const std::function<void()>& thread) {
  static std::atomic<unsigned> launches = 0;
  const bool backwards = launches++ % 2 != 0;
  ++launch_of_thread;
  if (launch.threads == 0 || launch.threads > kMostThreads || launch.shared_bytes > kMostSharedBytes || launch.blocks.y > 65535 ||
      launch.blocks.z > 65535) {
    throw Fault(unmask::format("{}: a grid of {} x {} x {} blocks with {} threads and {} bytes of shared memory", launch.kernel,
                               launch.blocks.x, launch.blocks.y, launch.blocks.z, launch.threads, launch.shared_bytes));
  }
  if (block.runs()) {
    throw Fault("a kernel starts a kernel");
  }
  gridDim = launch.blocks;
  blockDim = {launch.threads, 1, 1};
  const std::uint64_t plane = std::uint64_t{launch.blocks.x} * launch.blocks.y;
  const std::uint64_t count = plane * launch.blocks.z;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t at = backwards ? count - 1 - i : i;
    blockIdx = {static_cast<unsigned>(at % launch.blocks.x), static_cast<unsigned>(at % plane / launch.blocks.x),
                static_cast<unsigned>(at / plane)};
    block.run(launch, thread, backwards);
  }
  check_guards(launch.kernel);
}

std::byte* dynamic_shared_memory() { return block.shared(); }

void wait_until(const std::function<bool()>& is_ready, const char* what, const std::source_location& where) {
  block.wait_until({.what = what, .where = where, .mask = 0, .is_ready = &is_ready});
}

int meet_in_block(int value, const char* what, const std::source_location& where) {
  return block.meet_all(value, {.what = what, .where = where, .mask = 0});
}

void meet_in_warp(unsigned mask, void* payload, Act act, const char* what, const std::source_location& where) {
  block.meet_lanes(payload, act, {.what = what, .where = where, .mask = mask});
}

}  // namespace simulator
