// SPDX-License-Identifier: Apache-2.0
// Summaries of neighbouring tiles become one, in order.
#pragma once

#include "experts/cuda/rows.cuh"

namespace unmask::experts::cuda {

__device__ inline DeviceSummary nothing_yet() {
  return {.top = 0.0F, .others = 0.0F, .best = 0.0F, .top_token = -1, .best_token = -1, .finite = 1, .sample_token = -1,
          .sample_logit = 0.0F, .sample_noised = -INFINITY};
}

/// The token that wins with noise on the logits.
struct Sample {
  double noised = -INFINITY;
  float logit = 0.0F;
  std::int32_t token = -1;

  /// Of equal ones the earlier stays.
  __device__ void take(const Sample& other) {
    if (other.noised > noised) {
      *this = other;
    }
  }
};

/// Of equal ones the lowest token.
__device__ inline Sample best_in_warp(Sample mine) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) {
    const Sample other{__shfl_xor_sync(kAllLanes, mine.noised, bits), __shfl_xor_sync(kAllLanes, mine.logit, bits),
                       __shfl_xor_sync(kAllLanes, mine.token, bits)};
    if (other.noised > mine.noised || (other.noised == mine.noised && other.token < mine.token)) {
      mine = other;
    }
  }
  return mine;
}

/// Joins the tiles [rows, num_tiles] to the problem's summaries.
void merge_tiles(const HeadProblem& problem, std::int64_t num_tiles, cudaStream_t stream);

}  // namespace unmask::experts::cuda
