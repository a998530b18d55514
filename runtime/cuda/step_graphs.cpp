// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/step_graphs.h"

#include <algorithm>
#include <utility>

namespace unmask::runtime::cuda {
namespace {

using experts::cuda::check;
using experts::cuda::make_event;
using experts::cuda::Timing;

/// A capture under way; if it is left by an error, the stream is not captured any more.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture() {
    if (graph_ == nullptr) {
      static_cast<void>(cudaStreamEndCapture(stream_, &graph_));
    }
    if (graph_ != nullptr) {
      static_cast<void>(cudaGraphDestroy(graph_));
    }
  }
  experts::cuda::GraphExec finish() {
    check(cudaStreamEndCapture(stream_, &graph_), "cudaStreamEndCapture");
    cudaGraphExec_t graph = nullptr;
    check(cudaGraphInstantiate(&graph, graph_, 0), "cudaGraphInstantiate");
    return experts::cuda::GraphExec(graph);
  }

 private:
  cudaStream_t stream_;
  cudaGraph_t graph_ = nullptr;
};

}  // namespace

StepGraphs::StepGraphs(comm::DeviceLinks& links, cudaStream_t stream, Trace* trace)
    : links_(links), stream_(stream), trace_(trace), begin_(make_event(Timing::kOn)), end_(make_event(Timing::kOn)),
      last_end_(make_event(Timing::kOn)) {}

void StepGraphs::begin(const comm::StepShape& shape) {
  const auto found = std::ranges::find(captured_, shape, &Captured::shape);
  if (found != captured_.end()) {
    current_ = static_cast<std::size_t>(found - captured_.begin());
  } else {
    if (captured_.size() == kMostShapes) {
      captured_.erase(std::ranges::min_element(captured_, {}, &Captured::uses));
    }
    captured_.push_back({.shape = shape, .uses = 0, .graph = {}});
    current_ = captured_.size() - 1;
  }
  queued_since_ = Trace::Clock::now();
  check(cudaEventRecord(begin_.get(), stream_), "cudaEventRecord");
  phase_ = Phase::kQueued;
  ++num_steps_;
}

void StepGraphs::run(const std::function<void()>& pass) {
  Captured& captured = captured_[current_];
  ++captured.uses;
  if (!links_.is_capturable() || captured.uses == 1) {  // the first one also lets libraries choose and load what they need
    pass();
    ++times_.queued_steps;
    return;
  }
  if (!captured.graph) {
    capture(captured, pass);
  }
  check(cudaGraphLaunch(captured.graph.get(), stream_), "cudaGraphLaunch");
  ++times_.replayed_steps;
}

void StepGraphs::capture(Captured& captured, const std::function<void()>& pass) {
  Capture capture(stream_);
  pass();
  captured.graph = capture.finish();
}

/// The host comes back when the results are there, so both ends of the step have passed.
void StepGraphs::end() {
  if (phase_ == Phase::kIdle) {
    return;
  }
  phase_ = Phase::kIdle;
  check(cudaEventRecord(end_.get(), stream_), "cudaEventRecord");
  check(cudaEventSynchronize(end_.get()), "cudaEventSynchronize");
  float busy = 0, idle = 0;
  check(cudaEventElapsedTime(&busy, begin_.get(), end_.get()), "cudaEventElapsedTime");
  times_.busy_seconds += 1e-3 * static_cast<double>(busy);
  if (num_steps_ > 1) {
    check(cudaEventElapsedTime(&idle, last_end_.get(), begin_.get()), "cudaEventElapsedTime");
    times_.idle_seconds += 1e-3 * static_cast<double>(idle);
  }
  const auto now = Trace::Clock::now();
  if (trace_ != nullptr) {
    if (num_steps_ > 1) {
      trace_->add({.name = "host, between steps", .layer = num_steps_, .begin = last_end_time_, .end = queued_since_});
    }
    trace_->add({.name = "step on the device", .layer = num_steps_, .begin = queued_since_, .end = now});
  }
  last_end_time_ = now;
  std::swap(end_, last_end_);
}

}  // namespace unmask::runtime::cuda
