// SPDX-License-Identifier: Apache-2.0
// What kernels that give a block of threads to a row have in common: a thread takes 8 neighbouring values at a time.
#pragma once

#include <cmath>

#include "experts/cuda/instructions.cuh"
#include "experts/cuda/kernels.h"

namespace unmask::experts::cuda {

inline constexpr unsigned kRowThreads = 256;
inline constexpr int kRowWarps = 8;
inline constexpr std::int64_t kPiece = 8;  ///< values: 16 bytes of bfloat16
inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;

struct Piece {
  float v[kPiece];
};

__device__ inline unsigned lane_of_warp() { return threadIdx.x % kWarp; }
__device__ inline unsigned warp_of_block() { return threadIdx.x / kWarp; }

/// Rows of such matrices are multiples of 8 values, so that pieces are aligned.
__device__ inline Piece load_piece(const float* from) {
  const float4 a = reinterpret_cast<const float4*>(from)[0];
  const float4 b = reinterpret_cast<const float4*>(from)[1];
  return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}

__device__ inline Piece load_piece(const bfloat16* from) {
  const uint4 bits = *reinterpret_cast<const uint4*>(from);
  return {{__uint_as_float(bits.x << 16), __uint_as_float(bits.x & 0xFFFF0000U), __uint_as_float(bits.y << 16),
           __uint_as_float(bits.y & 0xFFFF0000U), __uint_as_float(bits.z << 16), __uint_as_float(bits.z & 0xFFFF0000U),
           __uint_as_float(bits.w << 16), __uint_as_float(bits.w & 0xFFFF0000U)}};
}

__device__ inline void store_piece(float* to, const Piece& x) {
  reinterpret_cast<float4*>(to)[0] = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
  reinterpret_cast<float4*>(to)[1] = make_float4(x.v[4], x.v[5], x.v[6], x.v[7]);
}

__device__ inline void store_piece(const Outputs& to, std::int64_t at, const Piece& x) {
  if (to.precision == Precision::kFloat32) {
    store_piece(static_cast<float*>(to.data) + at, x);
  } else {
    *reinterpret_cast<uint4*>(static_cast<bfloat16*>(to.data) + at) =
        make_uint4(narrow_pair(x.v[0], x.v[1]), narrow_pair(x.v[2], x.v[3]), narrow_pair(x.v[4], x.v[5]), narrow_pair(x.v[6], x.v[7]));
  }
}

/// act(i) for the pieces i .. i + 7 of a row that are this thread's.
template <class Act>
__device__ void for_pieces(std::int64_t cols, const Act& act) {
  for (std::int64_t i = threadIdx.x * kPiece; i < cols; i += kRowThreads * kPiece) {
    act(i);
  }
}

__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) {
    x = __fadd_rn(x, __shfl_xor_sync(kAllLanes, x, bits));
  }
  return x;
}

__device__ inline float warp_max(float x) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, bits));
  }
  return x;
}

/// Sums over the block, of several values at once: always in the same order. All threads get them; `shared` is free again after
/// the caller's next barrier.
template <unsigned count>
__device__ void block_sums(float (&x)[count], float (*shared)[kRowWarps]) {
#pragma unroll
  for (unsigned i = 0; i < count; ++i) {
    x[i] = warp_sum(x[i]);
    if (lane_of_warp() == 0) {
      shared[i][warp_of_block()] = x[i];
    }
  }
  __syncthreads();
#pragma unroll
  for (unsigned i = 0; i < count; ++i) {
    x[i] = shared[i][0];
#pragma unroll
    for (int warp = 1; warp < kRowWarps; ++warp) {
      x[i] = __fadd_rn(x[i], shared[i][warp]);
    }
  }
}

__device__ inline void add_squares(const Piece& x, float& sum) {
#pragma unroll
  for (float v : x.v) {
    sum = fmaf(v, v, sum);
  }
}

__device__ inline float norm_scale(float squares, std::int64_t cols, float eps) {
  return 1.0F / sqrtf(squares / static_cast<float>(cols) + eps);
}

/// (x * scale) * weight, each product rounded.
__device__ inline Piece normed_piece(const Piece& x, float scale, const float* weight) {
  const Piece w = load_piece(weight);
  Piece y;
#pragma unroll
  for (int i = 0; i < kPiece; ++i) {
    y.v[i] = __fmul_rn(__fmul_rn(x.v[i], scale), w.v[i]);
  }
  return y;
}

inline unsigned blocks_for(std::int64_t count) { return static_cast<unsigned>(count); }

}  // namespace unmask::experts::cuda
