// SPDX-License-Identifier: Apache-2.0
// The experts' products with weights of bfloat16.
#include "experts/cuda/float_products.cuh"
#include "experts/cuda/grouped_kernels.h"
#include "experts/cuda/grouped_tiles.cuh"
#include "experts/cuda/launch.cuh"

namespace unmask::experts::cuda {
namespace {

/// Row i of a tile of gate and up, in turn `block` outputs of each, from output `first` on; null past the last.
__device__ const bfloat16* gate_up_row(const GroupedGateUpProblem& p, int expert, std::int64_t first, int block, int i) {
  const std::int64_t which = i / block % 2;  // 0: gate, 1: up
  const std::int64_t output = first + i / (2 * block) * block + i % block;
  return output < p.width ? static_cast<const bfloat16*>(p.weights.data) + ((expert * 2 + which) * p.width + output) * p.hidden : nullptr;
}

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) gate_up_kernel(GroupedGateUpProblem p, ExpertSize which) {
  const GroupedTile tile = my_tile(p, which, T::kRows);
  if (tile.rows == 0) {
    return;
  }
  constexpr int kBlock = 16;  // a warp's parts are gate and up in turn
  static_assert(T::kOutputParts % 2 == 0);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * (T::kOutputs / 2);
  const auto* x = static_cast<const bfloat16*>(p.x.data);
  typename T::Sums sums;
  multiply_tile<T>(
      dynamic_shared<bfloat16>(), tile.rows, static_cast<int>(p.hidden),
      [&](int i) { return i < tile.rows ? x + p.pair_rows[tile.first_pair + i] * p.hidden : nullptr; },
      [&](int i) { return gate_up_row(p, tile.expert, first, kBlock, i); }, sums);
  auto* h = static_cast<bfloat16*>(p.h.data);
  for_each_sum<T>(tile.rows, [&](int row, int output, int i, int j, int v) {
    const std::int64_t n = first + output / (2 * kBlock) * kBlock + output % kBlock;
    if (j % 4 < 2 && n < p.width) {  // sums j are of gate, j + 2 of up; width is even
      const float (&gate)[4] = sums[i][j];
      const float (&up)[4] = sums[i][j + 2];
      *reinterpret_cast<std::uint32_t*>(h + (tile.first_pair + row) * p.width + n) =
          narrow_pair(silu_multiply(gate[v], up[v]), silu_multiply(gate[v + 1], up[v + 1]));
    }
  });
}

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) down_kernel(GroupedDownProblem p, ExpertSize which) {
  const GroupedTile tile = my_tile(p, which, T::kRows);
  if (tile.rows == 0) {
    return;
  }
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * T::kOutputs;
  const auto* h = static_cast<const bfloat16*>(p.h.data) + tile.first_pair * p.width;
  const bfloat16* w = static_cast<const bfloat16*>(p.weights.data) + (tile.expert * p.hidden + first) * p.width;
  typename T::Sums sums;
  multiply_tile<T>(
      dynamic_shared<bfloat16>(), tile.rows, static_cast<int>(p.width), [&](int i) { return i < tile.rows ? h + i * p.width : nullptr; },
      [&](int i) { return first + i < p.hidden ? w + i * p.width : nullptr; }, sums);
  for_each_sum<T>(tile.rows, [&](int row, int output, int i, int j, int v) {
    if (first + output < p.hidden) {  // hidden is even
      const float weight = p.pair_weights[tile.first_pair + row];
      *reinterpret_cast<float2*>(p.y + (tile.first_pair + row) * p.hidden + first + output) =
          make_float2(__fmul_rn(weight, sums[i][j][v]), __fmul_rn(weight, sums[i][j][v + 1]));
    }
  });
}

__global__ void __launch_bounds__(kFloatThreads) gate_up_float_kernel(GroupedGateUpProblem p) {
  const GroupedTile tile = my_tile(p, ExpertSize::kAny, kFloatTile);
  if (tile.rows == 0) {
    return;
  }
  constexpr int kBlock = 8;  // a thread's outputs are gate and up in turn
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * (kFloatTile / 2);
  const auto* x = static_cast<const float*>(p.x.data);
  float sums[kFloatSums];
  multiply_float_tile(
      static_cast<int>(p.hidden), [&](int i) { return i < tile.rows ? x + p.pair_rows[tile.first_pair + i] * p.hidden : nullptr; },
      [&](int i) { return gate_up_row(p, tile.expert, first, kBlock, i); }, sums);
  auto* h = static_cast<float*>(p.h.data);
#pragma unroll
  for (int i = 0; i < kFloatSums; i += 2) {
    const std::int64_t n = first + float_output(i) / (2 * kBlock) * kBlock + float_output(i) % kBlock;
    if (float_row() < tile.rows && n < p.width) {
      const float silu = __fdiv_rn(sums[i], __fadd_rn(1.0F, expf(-sums[i])));
      h[(tile.first_pair + float_row()) * p.width + n] = __fmul_rn(silu, sums[i + 1]);
    }
  }
}

__global__ void __launch_bounds__(kFloatThreads) down_float_kernel(GroupedDownProblem p) {
  const GroupedTile tile = my_tile(p, ExpertSize::kAny, kFloatTile);
  if (tile.rows == 0) {
    return;
  }
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kFloatTile;
  const auto* h = static_cast<const float*>(p.h.data) + tile.first_pair * p.width;
  const bfloat16* w = static_cast<const bfloat16*>(p.weights.data) + (tile.expert * p.hidden + first) * p.width;
  float sums[kFloatSums];
  multiply_float_tile(
      static_cast<int>(p.width), [&](int i) { return i < tile.rows ? h + i * p.width : nullptr; },
      [&](int i) { return first + i < p.hidden ? w + i * p.width : nullptr; }, sums);
#pragma unroll
  for (int i = 0; i < kFloatSums; ++i) {
    if (float_row() < tile.rows && first + float_output(i) < p.hidden) {
      const std::int64_t pair = tile.first_pair + float_row();
      p.y[pair * p.hidden + first + float_output(i)] = __fmul_rn(p.pair_weights[pair], sums[i]);
    }
  }
}

template <class T>
void launch_tiles(const GroupedGateUpProblem& p, ExpertSize which, cudaStream_t stream) {
  const dim3 blocks = grid_of(p.width, T::kOutputs / 2, most_grouped_tiles(p.most_pairs, p.num_local, T::kRows, which));
  launch(gate_up_kernel<T>, {blocks, T::kThreads, T::kSharedBytes}, stream, p, which);
}
template <class T>
void launch_tiles(const GroupedDownProblem& p, ExpertSize which, cudaStream_t stream) {
  const dim3 blocks = grid_of(p.hidden, T::kOutputs, most_grouped_tiles(p.most_pairs, p.last_expert - p.first_expert, T::kRows, which));
  launch(down_kernel<T>, {blocks, T::kThreads, T::kSharedBytes}, stream, p, which);
}

template <class Problem>
void compute(GroupedTiles tiles, const Problem& p, cudaStream_t stream) {
  tiles.tile == TileSize::kWide ? launch_tiles<WideTile>(p, tiles.experts, stream) : launch_tiles<NarrowTile>(p, tiles.experts, stream);
}

}  // namespace

void compute_floats(const GroupedGateUpProblem& p, cudaStream_t stream) {
  launch(gate_up_float_kernel, {grid_of(p.width, kFloatTile / 2, most_grouped_tiles(p.most_pairs, p.num_local, kFloatTile)), kFloatThreads}, stream, p);
}
void compute_floats(const GroupedDownProblem& p, cudaStream_t stream) {
  const std::int64_t tiles = most_grouped_tiles(p.most_pairs, p.last_expert - p.first_expert, kFloatTile);
  launch(down_float_kernel, {grid_of(p.hidden, kFloatTile, tiles), kFloatThreads}, stream, p);
}
void compute_mma(GroupedTiles tiles, const GroupedGateUpProblem& problem, cudaStream_t stream) { compute(tiles, problem, stream); }
void compute_mma(GroupedTiles tiles, const GroupedDownProblem& problem, cudaStream_t stream) { compute(tiles, problem, stream); }

}  // namespace unmask::experts::cuda
