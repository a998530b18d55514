// SPDX-License-Identifier: Apache-2.0
// Matrix products of the parity mode: inputs float32, weights bfloat16 widened, fused multiply-add in float32. Sums of 32 values
// of k each, added in order: always the same, and more exact than one long sum.
#pragma once

#include "experts/cuda/instructions.cuh"

namespace unmask::experts::cuda {

inline constexpr int kFloatTile = 32;             ///< rows, outputs, and values of k at a time
inline constexpr int kFloatThreads = 256;
inline constexpr int kFloatSums = 4;

/// Of the tile's sums a thread has row float_row(), outputs float_output(0 .. 3).
__device__ inline int float_row() { return static_cast<int>(threadIdx.x) / 8; }
__device__ inline int float_output(int i) { return static_cast<int>(threadIdx.x) % 8 + 8 * i; }

/// row_at, weight_at: row i of the tile's x and w, null: zeros.
template <class RowAt, class WeightAt>
__device__ void multiply_float_tile(int k, const RowAt& row_at, const WeightAt& weight_at, float (&sums)[kFloatSums]) {
  __shared__ float x[kFloatTile][kFloatTile + 1];
  __shared__ float w[kFloatTile][kFloatTile + 1];
  for (float& sum : sums) {
    sum = 0.0F;
  }
  for (int begin = 0; begin < k; begin += kFloatTile) {
    const int column = static_cast<int>(threadIdx.x) % kFloatTile;
    for (int row = static_cast<int>(threadIdx.x) / kFloatTile; row < kFloatTile; row += kFloatThreads / kFloatTile) {
      const float* from = row_at(row);
      const bfloat16* weights = weight_at(row);
      const bool inside = begin + column < k;
      x[row][column] = inside && from != nullptr ? from[begin + column] : 0.0F;
      w[row][column] = inside && weights != nullptr ? widen(weights[begin + column]) : 0.0F;
    }
    __syncthreads();
    float part[kFloatSums] = {};
    for (int i = 0; i < kFloatTile; ++i) {
#pragma unroll
      for (int j = 0; j < kFloatSums; ++j) {
        part[j] = fmaf(x[float_row()][i], w[float_output(j)][i], part[j]);
      }
    }
#pragma unroll
    for (int j = 0; j < kFloatSums; ++j) {
      sums[j] = __fadd_rn(sums[j], part[j]);
    }
    __syncthreads();
  }
}

}  // namespace unmask::experts::cuda
