// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <future>

#include "cluster/pinning.h"

namespace unmask::launcher {

/// Runs `part`, which may have to wait for somebody outside (a slow reader or writer of a pipe), on a thread of its own, and
/// `meanwhile` five times a second on this one until it is done. Rethrows what `part` threw.
template <class Part>
void run_beside(const Part& part, const std::function<void()>& meanwhile) {
  auto done = std::async(std::launch::async, [&] {
    cluster::leave_pins();
    part();
  });
  while (done.wait_for(std::chrono::milliseconds(200)) == std::future_status::timeout) {
    meanwhile();
  }
  done.get();
}

}  // namespace unmask::launcher
