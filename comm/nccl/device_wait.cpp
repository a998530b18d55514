// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/device_wait.h"

#include <algorithm>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "comm/point_to_point.h"

namespace unmask::comm {
namespace {

using std::chrono::microseconds;

constexpr std::chrono::milliseconds kEager{20};  // a step is shorter: nothing should lie between its end and us
constexpr std::chrono::milliseconds kLook{1};    // the others want to hear that we live
constexpr microseconds kMinRest{50}, kMaxRest{500};
constexpr int kRestShare = 200;                  // sleeping so small a part of the time waited delays nobody

}  // namespace

void check_device(cudaError_t status, std::string_view call, std::string_view operation) {
  require(status == cudaSuccess, ExitCode::kPeerLost, "{}: {} failed with {} ({}): the device cannot go on; see dmesg for NVRM: Xid",
          operation, call, cudaGetErrorName(status), cudaGetErrorString(status));
}

DeviceEvent make_device_event(std::string_view operation) {
  cudaEvent_t event = nullptr;
  check_device(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags", operation);
  return DeviceEvent(event);
}

bool is_idle(cudaStream_t stream, std::string_view operation) {
  const cudaError_t status = cudaStreamQuery(stream);
  if (status == cudaErrorNotReady) {
    return false;
  }
  check_device(status, "cudaStreamQuery", operation);
  return true;
}

void wait_until(Communicator& comm, std::string_view operation, const std::function<bool()>& is_done) {
  const Stopwatch clock;
  std::chrono::duration<double> next_look = kLook;
  // Which rank is behind a device's wait is not known here; the vigil over all of them names who is silent.
  const Rank next((comm.rank().value + 1) % comm.num_ranks());
  while (!is_done()) {
    const auto waited = clock.elapsed();
    if (waited >= next_look) {
      next_look = waited + kLook;
      comm.waits(operation, next, waited);
    }
    if (waited < kEager) {
      std::this_thread::yield();
    } else {
      comm.wires().rest(std::clamp(std::chrono::duration_cast<microseconds>(waited / kRestShare), kMinRest, kMaxRest));
    }
  }
  comm.works();
}

}  // namespace unmask::comm
