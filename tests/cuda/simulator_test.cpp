// SPDX-License-Identifier: Apache-2.0
// The simulator itself: kernels meet as CUDA's threads do, and what a kernel does wrong is said, not hung on or passed over.
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <cuda_runtime.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experts/cuda/device.h"
#include "experts/cuda/launch.cuh"
#include "simulator/control.h"

namespace unmask::experts::cuda {
namespace {

using testing::HasSubstr;

__global__ void reverse_kernel(int* values) {
  int* const shared = dynamic_shared<int>();
  const unsigned n = blockDim.x;
  int* const mine = values + blockIdx.x * n;
  shared[threadIdx.x] = mine[threadIdx.x];
  __syncthreads();
  mine[threadIdx.x] = shared[n - 1 - threadIdx.x];
}

__global__ void forgetful_kernel(int* values) {  // reverse_kernel without its barrier
  int* const shared = dynamic_shared<int>();
  shared[threadIdx.x] = values[threadIdx.x];
  values[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

__global__ void lanes_kernel(int* results) {
  const int t = static_cast<int>(threadIdx.x);
  int* const r = results + t * 8;
  r[0] = __shfl_sync(~0U, t, 5);
  r[1] = __shfl_xor_sync(~0U, t, 3);
  r[2] = __shfl_up_sync(~0U, t, 2);
  r[3] = __shfl_down_sync(~0U, t, 30);
  r[4] = __shfl_sync(~0U, t, 9, 8);
  r[5] = static_cast<int>(__ballot_sync(~0U, t % 3 == 0));
  r[6] = __any_sync(~0U, t == 40) * 2 + __all_sync(~0U, t < 32);
  r[7] = __syncthreads_count(t % 5 == 0);
}

/// Both halves of a warp meet among themselves, in different places.
__global__ void halves_kernel(int* results) {
  const int t = static_cast<int>(threadIdx.x);
  int sum = t;
  if (t < 16) {
    for (int bits = 8; bits > 0; bits /= 2) {
      sum += __shfl_xor_sync(0x0000FFFFU, sum, bits);
    }
  } else {
    for (int bits = 8; bits > 0; bits /= 2) {
      sum -= __shfl_xor_sync(0xFFFF0000U, sum, bits);
    }
  }
  results[t] = sum;
}

__global__ void diverging_kernel(int mode) {
  if (mode == 0 && threadIdx.x == 3) {
    __shfl_sync(~0U, 1, 0);
  }
  if (mode == 1) {
    if (threadIdx.x < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  }
  if (mode == 2) {
    threadIdx.x < 7 ? __syncwarp() : void(__ballot_sync(~0U, 1));
  }
  if (mode == 3 && threadIdx.x < 40) {
    __syncthreads();  // those that have ended are not waited for
  }
}

__global__ void write_kernel(int* values, int at) {
  if (threadIdx.x == 0) {
    values[at] = 7;
  }
}

__global__ void write_shared_kernel(int at) {
  if (threadIdx.x == 0) {
    dynamic_shared<volatile int>()[at] = 7;
  }
}

__global__ void count_kernel(int* values, const int* real) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < *real) {
    atomicAdd(&values[i], 1);
  }
}

template <class Act>
std::string fault_of(const Act& act) {
  try {
    act();
  } catch (const simulator::Fault& fault) {
    return fault.what();
  }
  return "none";
}

TEST(Simulator, ThreadsOfABlockMeet) {
  for (int round = 0; round < 2; ++round) {  // threads run from the first on, or from the last
    Array<int> values(4 * 100);
    for (int i = 0; i < 400; ++i) {
      values.data()[i] = i;
    }
    launch(reverse_kernel, {.blocks = 4, .threads = 100, .shared_bytes = 400}, nullptr, values.data());
    for (int i = 0; i < 400; ++i) {
      EXPECT_EQ(values.data()[i], i / 100 * 100 + 99 - i % 100);
    }
  }
}

TEST(Simulator, AMissingBarrierShowsItself) {
  int wrong = 0;
  for (int round = 0; round < 2; ++round) {
    Array<int> values(64);
    std::memset(values.data(), 0, 256);
    launch(forgetful_kernel, {.blocks = 1, .threads = 64, .shared_bytes = 256}, nullptr, values.data());
    wrong += static_cast<int>(std::count(values.data(), values.data() + 64, -1));  // what nobody wrote
  }
  EXPECT_EQ(wrong, 64);
}

TEST(Simulator, LanesExchange) {
  Array<int> results(64 * 8);
  launch(lanes_kernel, {.blocks = 1, .threads = 64}, nullptr, results.data());
  for (int t = 0; t < 64; ++t) {
    const int* r = results.data() + t * 8;
    const int lane = t % 32, warp = t / 32 * 32;
    EXPECT_EQ(r[0], warp + 5);
    EXPECT_EQ(r[1], t ^ 3);
    EXPECT_EQ(r[2], lane < 2 ? t : t - 2);
    EXPECT_EQ(r[3], lane < 2 ? t + 30 : t);
    EXPECT_EQ(r[4], t / 8 * 8 + 1);
    EXPECT_EQ(static_cast<unsigned>(r[5]), warp == 0 ? 0x49249249U : 0x92492492U);
    EXPECT_EQ(r[6], warp == 0 ? 1 : 2);
    EXPECT_EQ(r[7], 13);
  }
}

TEST(Simulator, PartsOfAWarpMeetByThemselves) {
  Array<int> results(32);
  launch(halves_kernel, {.blocks = 1, .threads = 32}, nullptr, results.data());
  for (int t = 0; t < 16; ++t) {
    EXPECT_EQ(results.data()[t], 120);
  }
  EXPECT_EQ(results.data()[16], 0);  // differences of differences
}

TEST(Simulator, StandstillsAreReported) {
  const auto run = [](int mode) { launch(diverging_kernel, {.blocks = 2, .threads = 64}, nullptr, mode); };
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(fault_of([&] { run(0); }),
                testing::AllOf(HasSubstr("stands still"), HasSubstr("63 have ended"), HasSubstr("1 wait in __shfl_sync at simulator_test.cpp")));
    EXPECT_THAT(fault_of([&] { run(1); }), HasSubstr("different places"));
    EXPECT_THAT(fault_of([&] { run(2); }), testing::AllOf(HasSubstr("__syncwarp"), HasSubstr("__ballot_sync")));
    EXPECT_EQ(fault_of([&] { run(3); }), "none");
  }
}

TEST(Simulator, WritesPastTheEndAreFound) {
  Array<int> values(10);
  const auto write = [&](int at) {
    return fault_of([&] { launch(write_kernel, {.blocks = 1, .threads = 32}, nullptr, values.data(), at); });
  };
  EXPECT_EQ(write(9), "none");
#if !defined(__SANITIZE_ADDRESS__)  // which ends the program there
  EXPECT_THAT(write(10), HasSubstr("behind an allocation of 40 bytes"));
  std::memset(values.data() + 10, 0xA5, 4);  // mend the guards
  EXPECT_THAT(write(-1), HasSubstr("in front of"));
  std::memset(values.data() - 1, 0xA5, 4);
#endif
  const auto write_shared = [&](int at) {
    return fault_of([&] { launch(write_shared_kernel, {.blocks = 1, .threads = 32, .shared_bytes = 40}, nullptr, at); });
  };
  EXPECT_EQ(write_shared(9), "none");
  EXPECT_THAT(write_shared(10), HasSubstr("behind its 40 bytes"));
  int host[20] = {};
  EXPECT_THAT(fault_of([&] { copy(host, static_cast<const int*>(values.data()), 11, nullptr); }), HasSubstr("of an allocation of 40"));
  EXPECT_THAT(fault_of([&] { launch(write_kernel, {.blocks = 1, .threads = 2048}, nullptr, values.data(), 0); }), HasSubstr("2048 threads"));
}

TEST(Simulator, WhatNobodyWroteIsNotANumber) {
  Array<float> values(3);
  EXPECT_TRUE(std::isnan(values.data()[2]));
  PinnedArray<float> pinned(3);
  EXPECT_TRUE(std::isnan(pinned.data()[2]));
}

/// A step on two streams, captured once and replayed with other counts.
TEST(Simulator, GraphsReplay) {
  const Stream first = make_stream(), second = make_stream();
  const Event fork = make_event(), joined = make_event();
  Array<int> values(100);
  Array<int> real(1);
  std::memset(values.data(), 0, 400);
  const auto step = [&](bool joins) {
    check(cudaStreamBeginCapture(first.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    launch(count_kernel, {.blocks = 1, .threads = 128}, first.get(), values.data(), static_cast<const int*>(real.data()));
    check(cudaEventRecord(fork.get(), first.get()), "cudaEventRecord");
    check(cudaStreamWaitEvent(second.get(), fork.get()), "cudaStreamWaitEvent");
    launch(count_kernel, {.blocks = 1, .threads = 128}, second.get(), values.data(), static_cast<const int*>(real.data()));
    void* none = nullptr;
    EXPECT_EQ(cudaMalloc(&none, 8), cudaErrorStreamCaptureUnsupported);
    EXPECT_EQ(cudaStreamSynchronize(first.get()), cudaErrorStreamCaptureUnsupported);
    if (joins) {
      check(cudaEventRecord(joined.get(), second.get()), "cudaEventRecord");
      check(cudaStreamWaitEvent(first.get(), joined.get()), "cudaStreamWaitEvent");
    }
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(first.get(), &graph), joins ? cudaSuccess : cudaErrorStreamCaptureUnjoined);
    return graph;
  };
  EXPECT_EQ(step(false), nullptr);
  const cudaGraph_t graph = step(true);
  EXPECT_EQ(values.data()[0], 0);  // nothing has run yet
  cudaGraphExec_t made = nullptr;
  check(cudaGraphInstantiate(&made, graph), "cudaGraphInstantiate");
  const GraphExec exec(made);
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  const long long before = simulator::num_launches();
  for (const int count : {100, 0, 60}) {
    real.data()[0] = count;
    check(cudaGraphLaunch(exec.get(), first.get()), "cudaGraphLaunch");
  }
  EXPECT_EQ(simulator::num_launches(), before + 6);
  EXPECT_EQ(values.data()[59], 4);
  EXPECT_EQ(values.data()[60], 2);
}

}  // namespace
}  // namespace unmask::experts::cuda
