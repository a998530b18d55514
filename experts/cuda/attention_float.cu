// SPDX-License-Identifier: Apache-2.0
// Attention of the parity mode: a warp takes a row, its lanes two keys each, then the head's values.
#include "experts/cuda/attention_head.cuh"
#include "experts/cuda/instructions.cuh"
#include "experts/cuda/launch.cuh"

namespace unmask::experts::cuda {
namespace {

constexpr unsigned kAllLanes = 0xffffffffU;
constexpr int kThreads = 128;
constexpr int kMostPerLane = 256 / static_cast<int>(kWarp);  // values of a head
constexpr int kPart = 32;                                    // products that are added up before the sum takes them

__device__ float dot(const float* a, const float* b, int count) {
  float sum = 0.0F;
  for (int begin = 0; begin < count; begin += kPart) {
    const int end = begin + kPart < count ? begin + kPart : count;
    float part = 0.0F;
    for (int i = begin; i < end; ++i) {
      part = fmaf(a[i], b[i], part);
    }
    sum = __fadd_rn(sum, part);
  }
  return sum;
}

__device__ float largest(float x) {
  for (int bits = static_cast<int>(kWarp) / 2; bits > 0; bits /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, bits));
  }
  return x;
}
__device__ float sum(float x) {
  for (int bits = static_cast<int>(kWarp) / 2; bits > 0; bits /= 2) {
    x = __fadd_rn(x, __shfl_xor_sync(kAllLanes, x, bits));
  }
  return x;
}

__device__ void attend_row(const AttentionHead<float>& head, int row, int dim, float scale) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const float* q = head.q + row * head.q_stride;
  float top = -INFINITY;
  float total = 0.0F;
  float out[kMostPerLane] = {};
  for (int begin = 0; begin < head.length; begin += kKeyBlock) {
    float score[2];
    for (int half = 0; half < 2; ++half) {
      const int key = begin + half * static_cast<int>(kWarp) + lane;
      score[half] = key < head.length ? __fmul_rn(dot(q, head.keys + static_cast<std::int64_t>(key) * dim, dim), scale) : -INFINITY;
    }
    const float new_top = fmaxf(top, largest(fmaxf(score[0], score[1])));
    const float correction = expf(__fsub_rn(top, new_top));
    for (float& s : score) {
      s = expf(__fsub_rn(s, new_top));
    }
    total = fmaf(total, correction, sum(__fadd_rn(score[0], score[1])));
    top = new_top;
    float added[kMostPerLane] = {};
    for (int i = 0; i < kKeyBlock; ++i) {
      const float weight = __shfl_sync(kAllLanes, i < static_cast<int>(kWarp) ? score[0] : score[1], i % static_cast<int>(kWarp));
      if (begin + i < head.length) {
        const float* values = head.values + static_cast<std::int64_t>(begin + i) * dim;
#pragma unroll
        for (int j = 0; j < kMostPerLane; ++j) {
          const int at = lane + j * static_cast<int>(kWarp);
          added[j] = at < dim ? fmaf(weight, values[at], added[j]) : 0.0F;
        }
      }
    }
#pragma unroll
    for (int j = 0; j < kMostPerLane; ++j) {
      out[j] = fmaf(out[j], correction, added[j]);
    }
  }
#pragma unroll
  for (int j = 0; j < kMostPerLane; ++j) {
    const int at = lane + j * static_cast<int>(kWarp);
    if (at < dim) {
      head.out[row * head.q_stride + at] = __fdiv_rn(out[j], total);
    }
  }
}

__global__ void __launch_bounds__(kThreads) attend_float_kernel(AttentionProblem p) {
  if (static_cast<std::int64_t>(blockIdx.x) >= *p.num_tasks.real) {
    return;
  }
  const auto head = my_head<float>(p);
  for (int row = static_cast<int>(threadIdx.x / kWarp); row < head.rows; row += kThreads / static_cast<int>(kWarp)) {
    attend_row(head, row, static_cast<int>(p.head_dim), p.scale);
  }
}

}  // namespace

void attend_in_float(const AttentionProblem& problem, cudaStream_t stream) {
  launch(attend_float_kernel, {dim3(static_cast<unsigned>(problem.num_tasks.most), static_cast<unsigned>(problem.num_heads)), kThreads}, stream,
         problem);
}

}  // namespace unmask::experts::cuda
