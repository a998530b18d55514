// SPDX-License-Identifier: Apache-2.0
// Copies of 16 bytes that a thread begins and waits for later (cp.async). They happen as late as they may: in the wait, so that
// reading too early reads what was there before.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "simulator/block.h"
#include "simulator/hopper.h"
#include "simulator/types.h"

namespace simulator {

struct AsyncCopy {
  void* to;
  const void* from;  ///< null: zeros
};

/// Of one thread of the running block.
struct AsyncCopies {
  std::vector<AsyncCopy> begun;               ///< not in a group yet
  std::deque<std::vector<AsyncCopy>> groups;
  long long launch = -1;
  uint3 block{};
};

inline AsyncCopies& async_copies() {
  static thread_local std::vector<AsyncCopies> all(1024);
  AsyncCopies& mine = all[threadIdx.x];
  const bool same = mine.launch == launch_of_thread && mine.block.x == blockIdx.x && mine.block.y == blockIdx.y && mine.block.z == blockIdx.z;
  if (!same) {
    const bool left = !mine.begun.empty() || !mine.groups.empty();
    mine = {};
    mine.launch = launch_of_thread;
    mine.block = blockIdx;
    if (left) {
      throw Fault("a thread of a block before ended without waiting for its asynchronous copies");
    }
  }
  return mine;
}

inline void check_aligned(const void* memory, const char* what) {
  if (reinterpret_cast<std::uintptr_t>(memory) % 16 != 0) {
    throw Fault(std::string(what) + ": address not aligned to 16 bytes");
  }
}

inline void begin_copy(void* to, const void* from) {
  check_aligned(to, "cp.async");
  check_aligned(from, "cp.async");
  async_copies().begun.push_back({to, from});
}

inline void commit_copies() {
  AsyncCopies& mine = async_copies();
  mine.groups.push_back(std::move(mine.begun));
  mine.begun.clear();
}

inline void wait_copies(std::size_t pending) {
  AsyncCopies& mine = async_copies();
  while (mine.groups.size() > pending) {
    for (const AsyncCopy& copy : mine.groups.front()) {
      copy.from == nullptr ? std::memset(copy.to, 0, 16) : std::memcpy(copy.to, copy.from, 16);
      wrote(copy.to);
    }
    mine.groups.pop_front();
  }
}

}  // namespace simulator
