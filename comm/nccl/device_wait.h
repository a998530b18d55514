// SPDX-License-Identifier: Apache-2.0
// What the implementations of DeviceLinks share: checked CUDA calls, events, and waits that end.
#pragma once

#include <functional>
#include <string_view>

#include <cuda_runtime.h>

#include "base/unique_handle.h"
#include "comm/communicator.h"

namespace unmask::comm {

/// Error(kPeerLost) naming operation, call, code and meaning.
void check_device(cudaError_t status, std::string_view call, std::string_view operation);

struct DeviceEventTraits {
  using Value = cudaEvent_t;
  static Value empty() { return nullptr; }
  static void close(Value event) noexcept { static_cast<void>(cudaEventDestroy(event)); }
};
using DeviceEvent = UniqueHandle<DeviceEventTraits>;
DeviceEvent make_device_event(std::string_view operation);

/// Asks is_done() until it says so: at full speed for a moment, giving the core away between looks, then with short sleeps. Error
/// (kPeerLost) where another rank is lost meanwhile, or nothing moves in the whole job for the communicator's deadline.
void wait_until(Communicator& comm, std::string_view operation, const std::function<bool()>& is_done);

/// Whether all that is queued on the stream is done.
bool is_idle(cudaStream_t stream, std::string_view operation);

}  // namespace unmask::comm
