// SPDX-License-Identifier: Apache-2.0
// Streams, events, graphs.
#include <chrono>
#include <cstdint>
#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "simulator/control.h"
#include "simulator/queue.h"
#include "state.h"

namespace {

using Work = std::vector<std::function<void()>>;

/// Work of the streams that one capture reached, in the order in which it was queued: a legal order of the graph.
struct Capture {
  Work work;
  cudaStream_t origin;
  std::vector<cudaStream_t> streams;
};

}  // namespace

struct CUstream_st {
  std::shared_ptr<Capture> capture;  // null: none
  bool open = false;                 // has work that the origin of the capture does not know of
  std::int64_t operations = 0;
};
struct CUevent_st {
  bool timing = true;
  std::chrono::steady_clock::time_point time;
  bool recorded = false;
  std::weak_ptr<Capture> capture;
  bool captured = false;
  cudaStream_t stream = nullptr;
  std::int64_t operations = 0;  // of the stream when it was recorded
};
struct CUgraph_st {
  Work work;
};
struct CUgraphExec_st {
  Work work;
};

namespace {

CUstream_st default_stream;
thread_local int captures_here = 0;  // that wait for their end on this thread, relaxed ones not counted
thread_local cudaStreamCaptureMode mode_of_thread = cudaStreamCaptureModeGlobal;
std::atomic<long long> launches = 0;

CUstream_st& of(cudaStream_t stream) { return stream == nullptr ? default_stream : *stream; }

void join(CUstream_st& stream, const std::shared_ptr<Capture>& capture) {
  if (!stream.capture) {
    stream.capture = capture;
    capture->streams.push_back(&stream);
  }
}

}  // namespace

namespace simulator {

bool forbids_waiting() { return captures_here > 0 && mode_of_thread != cudaStreamCaptureModeRelaxed; }

long long num_launches() { return launches; }

cudaError_t queue(cudaStream_t stream, std::function<void()> work) {
  if (fault_of_device() != cudaSuccess) {
    return noted(cudaSuccess);
  }
  CUstream_st& s = of(stream);
  ++s.operations;
  if (!s.capture) {
    work();
    return cudaSuccess;
  }
  s.open = true;
  s.capture->work.push_back(std::move(work));
  return cudaSuccess;
}

cudaError_t queue_kernel(cudaStream_t stream, const Launch& launch, std::function<void()> thread) {
  return queue(stream, [launch, thread = std::move(thread)] {
    ++launches;
    run(launch, thread);
  });
}

}  // namespace simulator

using simulator::noted;

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) { return cudaStreamCreateWithFlags(stream, flags); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return noted(cudaSuccess);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (stream == nullptr) {
    return noted(cudaErrorInvalidResourceHandle);
  }
  delete stream;
  return noted(cudaSuccess);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return noted(of(stream).capture || simulator::forbids_waiting() ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) { return noted(of(stream).capture ? cudaErrorStreamCaptureUnsupported : cudaSuccess); }
cudaError_t cudaDeviceSynchronize() {
  return noted(simulator::forbids_waiting() ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* argument) {
  return simulator::queue(stream, [=] { function(argument); });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st;
  (*event)->timing = (flags & cudaEventDisableTiming) == 0;
  return noted(cudaSuccess);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return noted(cudaSuccess);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  CUstream_st& s = of(stream);
  event->captured = s.capture != nullptr;
  event->capture = s.capture;
  event->stream = &s;
  event->operations = s.operations;
  if (!event->captured) {
    event->recorded = true;
    event->time = std::chrono::steady_clock::now();
  }
  return noted(cudaSuccess);
}
cudaError_t cudaEventQuery(cudaEvent_t event) { return noted(event->captured ? cudaErrorStreamCaptureUnsupported : cudaSuccess); }
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return noted(event->captured || simulator::forbids_waiting() ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  if (!begin->recorded || !end->recorded || !begin->timing || !end->timing) {
    return noted(cudaErrorInvalidResourceHandle);
  }
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return noted(cudaSuccess);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  CUstream_st& s = of(stream);
  if (!event->captured) {
    return noted(s.capture && event->recorded ? cudaErrorStreamCaptureIsolation : cudaSuccess);
  }
  const auto capture = event->capture.lock();
  if (!capture || (s.capture && s.capture != capture)) {
    return noted(cudaErrorStreamCaptureIsolation);
  }
  join(s, capture);
  CUstream_st& source = *event->stream;
  if (&s != &source && event->operations == source.operations) {
    s.open = s.open || source.open;  // what the source did is now known here
    source.open = false;
  }
  return noted(cudaSuccess);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (stream == nullptr || stream->capture) {
    return noted(stream == nullptr ? cudaErrorStreamCaptureUnsupported : cudaErrorInvalidValue);
  }
  const auto capture = std::make_shared<Capture>();
  capture->origin = stream;
  join(*stream, capture);
  mode_of_thread = mode;
  ++captures_here;
  return noted(cudaSuccess);
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::shared_ptr<Capture> capture = stream == nullptr ? nullptr : stream->capture;
  *graph = nullptr;
  if (!capture || capture->origin != stream) {
    return noted(capture ? cudaErrorStreamCaptureUnmatched : cudaErrorInvalidValue);
  }
  --captures_here;
  bool joined = true;
  for (const cudaStream_t other : capture->streams) {
    joined = joined && (other == stream || !other->open);
    other->capture.reset();
    other->open = false;
  }
  if (!joined) {
    return noted(cudaErrorStreamCaptureUnjoined);
  }
  *graph = new CUgraph_st{std::move(capture->work)};
  return noted(cudaSuccess);
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = of(stream).capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return noted(cudaSuccess);
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, mode_of_thread);
  return noted(cudaSuccess);
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, void*, std::size_t* count) {
  *count = graph->work.size();
  return noted(cudaSuccess);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->work};
  return noted(cudaSuccess);
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return noted(cudaSuccess); }
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return simulator::queue(stream, [work = exec->work] {
    for (const auto& one : work) {
      one();
    }
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return noted(cudaSuccess);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return noted(cudaSuccess);
}
