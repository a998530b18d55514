// SPDX-License-Identifier: Apache-2.0
// The experts' products. A block finds its tile by itself in the offsets, so that neither the host nor a list is waited for; blocks
// past the last tile end at once. With many pairs there are two launches: experts of up to 64 pairs, whose weights are read once
// by narrow tiles, and larger ones in wide tiles.
#include "experts/cuda/float_products.cuh"
#include "experts/cuda/launch.cuh"
#include "experts/cuda/tile_products.cuh"
#include "experts/cuda/tiled.h"

namespace unmask::experts::cuda {
namespace {

constexpr unsigned kAllLanes = 0xffffffffU;
static_assert(NarrowTile::kRows == kLargeExpert);

struct GroupedTile {
  int expert;
  int first_pair;
  int rows;  ///< 0: there is no such tile
};

/// Tile `index` of the experts [first, last) of a size, each of which has as many tiles as its pairs need. Every warp looks for itself.
__device__ GroupedTile find_tile(const std::int32_t* offsets, int first, int last, ExpertSize which, int tile_rows, int index) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  for (int group = first; group < last; group += static_cast<int>(kWarp)) {
    const int expert = group + lane;
    const int begin = expert < last ? offsets[expert] : 0;
    const int count = expert < last ? offsets[expert + 1] - begin : 0;
    const bool mine = which == ExpertSize::kAny || (which == ExpertSize::kLarge) == (count > kLargeExpert);
    const int tiles = mine ? (count + tile_rows - 1) / tile_rows : 0;
    int up_to = tiles;  // of the group, mine included
    for (unsigned by = 1; by < kWarp; by *= 2) {
      const int other = __shfl_up_sync(kAllLanes, up_to, by);
      up_to += lane >= static_cast<int>(by) ? other : 0;
    }
    const unsigned behind = __ballot_sync(kAllLanes, up_to > index);
    if (behind != 0) {
      const int holder = __ffs(static_cast<int>(behind)) - 1;
      const int place = index - (up_to - tiles);  // among the lane's expert's tiles
      const int left = count - place * tile_rows;
      return {group + holder, __shfl_sync(kAllLanes, begin + place * tile_rows, holder),
              __shfl_sync(kAllLanes, left < tile_rows ? left : tile_rows, holder)};
    }
    index -= __shfl_sync(kAllLanes, up_to, static_cast<int>(kWarp) - 1);
  }
  return {0, 0, 0};
}

__device__ GroupedTile my_tile(const GroupedGateUpProblem& p, ExpertSize which, int rows) {
  return find_tile(p.offsets, 0, static_cast<int>(p.num_local), which, rows, static_cast<int>(blockIdx.y));
}
__device__ GroupedTile my_tile(const GroupedDownProblem& p, ExpertSize which, int rows) {
  return find_tile(p.offsets, static_cast<int>(p.first_expert), static_cast<int>(p.last_expert), which, rows, static_cast<int>(blockIdx.y));
}

/// Row i of a tile of gate and up, in turn `block` outputs of each, from output `first` on; null past the last.
__device__ const bfloat16* gate_up_row(const GroupedGateUpProblem& p, int expert, std::int64_t first, int block, int i) {
  const std::int64_t which = i / block % 2;  // 0: gate, 1: up
  const std::int64_t output = first + i / (2 * block) * block + i % block;
  return output < p.width ? p.weights + ((expert * 2 + which) * p.width + output) * p.hidden : nullptr;
}

__device__ float silu_multiply(float gate, float up) {
  constexpr float kLog2e = 1.44269504F;
  return __fmul_rn(__fmul_rn(gate, fast_reciprocal(__fadd_rn(1.0F, fast_exp2(__fmul_rn(-gate, kLog2e))))), up);
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
  const bfloat16* w = p.weights + (tile.expert * p.hidden + first) * p.width;
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
  const bfloat16* w = p.weights + (tile.expert * p.hidden + first) * p.width;
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

dim3 grid_of(std::int64_t outputs, std::int64_t tile_outputs, std::int64_t tiles) {
  return dim3(static_cast<unsigned>(tiles_of(outputs, tile_outputs)), static_cast<unsigned>(tiles));
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

void launch_floats(const GroupedGateUpProblem& p, cudaStream_t stream) {
  launch(gate_up_float_kernel, {grid_of(p.width, kFloatTile / 2, most_grouped_tiles(p.most_pairs, p.num_local, kFloatTile)), kFloatThreads}, stream, p);
}
void launch_floats(const GroupedDownProblem& p, cudaStream_t stream) {
  const std::int64_t tiles = most_grouped_tiles(p.most_pairs, p.last_expert - p.first_expert, kFloatTile);
  launch(down_float_kernel, {grid_of(p.hidden, kFloatTile, tiles), kFloatThreads}, stream, p);
}

template <class Problem>
void compute(const Problem& p, Precision precision, cudaStream_t stream) {
  if (precision == Precision::kFloat32) {
    launch_floats(p, stream);
  } else if (divides_experts(p.most_pairs, p.num_local)) {
    launch_tiles<NarrowTile>(p, ExpertSize::kSmall, stream);
    launch_tiles<WideTile>(p, ExpertSize::kLarge, stream);
  } else {
    launch_tiles<NarrowTile>(p, ExpertSize::kAny, stream);
  }
}

template <class Problem>
void compute_by(TileSize tile, const Problem& p, cudaStream_t stream) {
  tile == TileSize::kWide ? launch_tiles<WideTile>(p, ExpertSize::kAny, stream) : launch_tiles<NarrowTile>(p, ExpertSize::kAny, stream);
}

}  // namespace

void grouped_gate_up(const GroupedGateUpProblem& problem, cudaStream_t stream) { compute(problem, problem.x.precision, stream); }
void grouped_down(const GroupedDownProblem& problem, cudaStream_t stream) { compute(problem, problem.h.precision, stream); }
void grouped_gate_up_by(TileSize tile, const GroupedGateUpProblem& problem, cudaStream_t stream) { compute_by(tile, problem, stream); }
void grouped_down_by(TileSize tile, const GroupedDownProblem& problem, cudaStream_t stream) { compute_by(tile, problem, stream); }

}  // namespace unmask::experts::cuda
