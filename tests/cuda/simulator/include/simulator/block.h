// SPDX-License-Identifier: Apache-2.0
// A block of a kernel on the CPU: each of its threads is a fiber, which runs until it must wait for others.
#pragma once

#include <cstddef>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string_view>

#include "simulator/types.h"

namespace simulator {

/// What a kernel did wrong, in words. Thrown by the launch (a real device would tell later, and less).
class Fault : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

struct Launch {
  std::string_view kernel;       ///< for messages
  dim3 blocks;
  unsigned threads;
  unsigned shared_bytes;
};

/// Runs all blocks, one after the other; every other launch from the last to the first, and its threads likewise, so that what
/// hangs on an order shows itself. Throws Fault.
void run(const Launch& launch, const std::function<void()>& thread);

/// Which launch this host thread runs, counted from the thread's first; others run theirs at the same time.
inline constinit thread_local long long launch_of_thread = 0;

/// The running block's dynamic shared memory, filled with 0xFF when the block began.
std::byte* dynamic_shared_memory();

/// Until it says so. It is asked when no thread of the block can go on without.
void wait_until(const std::function<bool()>& is_ready, const char* what, const std::source_location& where);

/// All threads of the block that have not ended meet; `value` of all of them are added up.
int meet_in_block(int value, const char* what, const std::source_location& where);

/// The lanes in `mask` meet, each with a payload of its own; the last to come calls act(lanes, mask) for all of them, with
/// lanes[i] = the payload of lane i.
using Act = void (*)(void* const* lanes, unsigned mask);
void meet_in_warp(unsigned mask, void* payload, Act act, const char* what, const std::source_location& where);

template <class Payload, void (*act)(Payload* const* lanes, unsigned mask)>
void meet(unsigned mask, Payload& payload, const char* what, const std::source_location& where = std::source_location::current()) {
  meet_in_warp(
      mask, &payload,
      [](void* const* lanes, unsigned all) {
        Payload* typed[32];
        for (int i = 0; i < 32; ++i) {
          typed[i] = static_cast<Payload*>(lanes[i]);
        }
        act(typed, all);
      },
      what, where);
}

}  // namespace simulator
