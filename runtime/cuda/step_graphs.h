// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/trace.h"
#include "comm/nccl/device_links.h"
#include "comm/nccl/step_agreement.h"
#include "experts/cuda/device.h"
#include "runtime/device_backend.h"

namespace unmask::runtime::cuda {

/// Steps as graphs: the first step of a shape is queued as it is, the second one captured, all later ones replayed. All ranks do the same, since
/// they agree on shapes. Where the links cannot be captured, every step is queued. Between steps it measures how long the device had nothing to do.
class StepGraphs {
 public:
  /// links must outlive it; trace may be null.
  StepGraphs(comm::DeviceLinks& links, cudaStream_t stream, Trace* trace);

  /// Memory has moved: nothing captured is of use any more. All that was queued must be done.
  void forget() { captured_.clear(); }
  /// A step begins; what it sends is queued behind this.
  void begin(const comm::StepShape& shape);
  /// Queues what `pass` queues on the stream.
  void run(const std::function<void()>& pass);
  /// The step's results are on the host.
  void end();

  bool is_queued() const { return phase_ == Phase::kQueued; }
  std::int64_t steps() const { return num_steps_; }
  DeviceTimes times() const { return times_; }

 private:
  struct Captured {
    comm::StepShape shape;
    std::int64_t uses = 0;
    experts::cuda::GraphExec graph;  ///< none yet
  };
  static constexpr std::size_t kMostShapes = 64;  // each holds some MB of the device; the least used goes
  void capture(Captured& captured, const std::function<void()>& pass);

  comm::DeviceLinks& links_;
  cudaStream_t stream_;
  Trace* trace_;
  std::vector<Captured> captured_;
  std::size_t current_ = 0;
  std::int64_t num_steps_ = 0;
  enum class Phase { kIdle, kQueued } phase_ = Phase::kIdle;
  experts::cuda::Event begin_, end_, last_end_;
  Trace::Clock::time_point queued_since_, last_end_time_;
  DeviceTimes times_;
};

}  // namespace unmask::runtime::cuda
