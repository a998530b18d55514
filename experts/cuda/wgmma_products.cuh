// SPDX-License-Identifier: Apache-2.0
// Products of bfloat16 on Hopper: outputs are the rows of wgmma, the tile's rows (pairs) its columns, so that few pairs waste little.
//
//   stage:  weights 128 x 64 values of k <- TMA | x: pairs x 64 values of k <- cp.async, as pairs lie anywhere; both 128-byte swizzled
//   warps 0-3, 4-7: products of 64 weight rows each, 4 steps of 16 values of k a stage
//   warp 8:         feeds the ring: [empty] -> copies -> [full]
//
// An output is the sum of its steps, ascending from k = 0, in one accumulator that begins at zero, whoever is beside it. That tiles of 64
// and of 256 pairs have the same bits is not promised by the instruction set: grouped_test looks at it on a device. No device has run this.
#pragma once

#include "experts/cuda/hopper.cuh"
#include "experts/cuda/instructions.cuh"
#include "experts/cuda/launch.cuh"

namespace unmask::experts::cuda {

inline constexpr int kSliceInputs = 64;                         ///< values of k in a stage
inline constexpr int kSliceBytes = 2 * kSliceInputs;            ///< of a row
inline constexpr int kWeightRows = 128;
inline constexpr int kGroupRows = 64;                           ///< of a warp group
inline constexpr int kWeightBytes = kWeightRows * kSliceBytes;
inline constexpr int kConsumerWarps = 8;
inline constexpr int kAtom = 1024;                              ///< bytes after which the swizzle repeats

template <int pairs, int stages, int blocks>
struct WgmmaTile {
  static constexpr int kPairs = pairs, kStages = stages, kBlocks = blocks;
  static constexpr int kThreads = (kConsumerWarps + 1) * static_cast<int>(kWarp);
  static constexpr int kStageBytes = kWeightBytes + pairs * kSliceBytes;
  static constexpr unsigned kSharedBytes = static_cast<unsigned>(kAtom + stages * (kStageBytes + 2 * static_cast<int>(sizeof(Barrier))) + pairs * 4);
  static_assert(kStageBytes % kAtom == 0 && stages > 2);

  using Sums = float[static_cast<unsigned>(pairs) / 2U];        ///< as multiply_group's d
};
using FewPairs = WgmmaTile<64, 4, 2>;
using ManyPairs = WgmmaTile<256, 4, 1>;

/// The block's dynamic shared memory.
template <class T>
struct Ring {
  std::byte* stages;
  Barrier* full;
  Barrier* empty;
  std::int32_t* rows;  ///< [pairs]: which row of x

  __device__ Ring() {
    auto* const memory = dynamic_shared<std::byte>();
    stages = memory + (kAtom - shared_address(memory) % kAtom) % kAtom;
    full = reinterpret_cast<Barrier*>(stages + T::kStages * T::kStageBytes);
    empty = full + T::kStages;
    rows = reinterpret_cast<std::int32_t*>(empty + T::kStages);
  }
  __device__ std::byte* weights(int slot) const { return stages + slot * T::kStageBytes; }
  __device__ std::byte* x(int slot) const { return weights(slot) + kWeightBytes; }
};

__device__ inline int warp_in_block() { return static_cast<int>(threadIdx.x / kWarp); }

/// All threads: barriers, the rows' places, zeros for pairs past the real ones.
template <class T, class RowOf>
__device__ void open_ring(const Ring<T>& ring, int pairs, const RowOf& row_of) {
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    for (int slot = 0; slot < T::kStages; ++slot) {
      init_barrier(&ring.full[slot], 1 + kWarp);  // the weights' bytes, and each lane's part of x
      init_barrier(&ring.empty[slot], kConsumerWarps);
    }
    publish_barriers();
  }
  for (int i = thread; i < pairs; i += T::kThreads) {
    ring.rows[i] = row_of(i);
  }
  const int zeros = (T::kPairs - pairs) * kSliceBytes / 16;  // pieces of a stage
  for (int i = thread; i < T::kStages * zeros; i += T::kThreads) {
    *reinterpret_cast<uint4*>(ring.x(i / zeros) + pairs * kSliceBytes + i % zeros * 16) = make_uint4(0, 0, 0, 0);
  }
  fence_async();
  __syncthreads();
}

/// The last warp: copies all of k. copy_weights(to, k, barrier): 128 rows from value k on.
template <class T, class CopyWeights>
__device__ void feed_ring(const Ring<T>& ring, int pairs, const bfloat16* x, int k, const CopyWeights& copy_weights) {
  constexpr int kBehind = 2;  // stages whose rows are on their way
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int piece = lane % 8;
  const int stages = (k + kSliceInputs - 1) / kSliceInputs;
  const auto rows_are_there = [&](int s) {
    fence_async();
    arrive(&ring.full[s % T::kStages]);
  };
  for (int s = 0; s < stages; ++s) {
    const int slot = s % T::kStages;
    if (s >= T::kStages) {
      wait_phase(&ring.empty[slot], static_cast<unsigned>(s / T::kStages - 1) & 1U);
    }
    if (lane == 0) {
      arrive_for_bytes(&ring.full[slot], kWeightBytes);
      copy_weights(ring.weights(slot), s * kSliceInputs, &ring.full[slot]);
    }
    const int at = s * kSliceInputs + piece * 8;
    for (int row = lane / 8; row < pairs; row += static_cast<int>(kWarp) / 8) {
      std::byte* const to = ring.x(slot) + row * kSliceBytes + (piece ^ (row & 7)) * 16;
      copy_16(to, at < k ? x + std::int64_t{ring.rows[row]} * k + at : x, at < k ? Fill::kCopy : Fill::kZero);
    }
    commit_copies();
    if (s >= kBehind) {
      wait_copies<kBehind>();
      rows_are_there(s - kBehind);
    }
  }
  wait_copies<0>();
  for (int s = stages < kBehind ? 0 : stages - kBehind; s < stages; ++s) {
    rows_are_there(s);
  }
}

/// The other warps: sums of their group's 64 weight rows.
template <class T>
__device__ void multiply_ring(const Ring<T>& ring, int k, typename T::Sums& sums) {
  const int group = warp_in_block() / 4;
  const bool speaks = threadIdx.x % kWarp == 0;
#pragma unroll
  for (float& sum : sums) {
    sum = 0.0F;
  }
  const int stages = (k + kSliceInputs - 1) / kSliceInputs;
  for (int s = 0; s < stages; ++s) {
    const int slot = s % T::kStages;
    wait_phase(&ring.full[slot], static_cast<unsigned>(s / T::kStages) & 1U);
    begin_products();
#pragma unroll
    for (int step = 0; step < kSliceInputs; step += 16) {
      multiply_group(sums, describe_rows(ring.weights(slot) + group * kGroupRows * kSliceBytes, step), describe_rows(ring.x(slot), step));
    }
    commit_products();
    wait_products<1>();  // those of the stage before are done with it
    if (s > 0 && speaks) {
      arrive(&ring.empty[(s - 1) % T::kStages]);
    }
  }
  wait_products<0>();
}

/// use(pair, i): the thread's sums of real pairs: sums[i] of weight row warp * 16 + lane / 4 of the block's 128, sums[i + 2] of that 8 further.
template <class T, class Use>
__device__ void for_each_pair_sum(int pairs, const Use& use) {
#pragma unroll
  for (int i = 0; i < T::kPairs / 8; ++i) {
#pragma unroll
    for (int v = 0; v < 2; ++v) {
      const int pair = 8 * i + 2 * static_cast<int>(threadIdx.x % 4) + v;
      if (pair < pairs) {
        use(pair, 4 * i + v);
      }
    }
  }
}

}  // namespace unmask::experts::cuda
