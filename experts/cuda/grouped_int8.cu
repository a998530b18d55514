// SPDX-License-Identifier: Apache-2.0
// The experts' products with weights of int8.
#include "experts/cuda/grouped_kernels.h"
#include "experts/cuda/grouped_tiles.cuh"
#include "experts/cuda/int8_products.cuh"
#include "experts/cuda/launch.cuh"

namespace unmask::experts::cuda {
namespace {

/// Of a matrix with `cols` inputs; as quantised_panel_bytes().
__device__ std::int64_t panel_bytes(std::int64_t cols) {
  constexpr std::int64_t kBlockInputs = 2 * kDepth;
  return (cols + kBlockInputs - 1) / kBlockInputs * kBlockBytes;
}
__device__ std::int64_t num_panels(std::int64_t outputs) { return (outputs + kPanelOutputs - 1) / kPanelOutputs; }

/// Of the warp's first panel of a pair, among the tile's.
template <class T>
__device__ int first_panel(int pair) {
  return static_cast<int>(threadIdx.x / kWarp) % T::kOutputWarps * T::kOutputParts + 2 * pair;
}

/// A pair of panels is 16 outputs of gate and the same of up: the first two of a quad of lanes hold gates, the others ups.
template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) gate_up_int8_kernel(GroupedGateUpProblem p, ExpertSize which) {
  const GroupedTile tile = my_tile(p, which, T::kRows);
  if (tile.rows == 0) {
    return;
  }
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * (T::kOutputs / 2);
  const auto* const x = static_cast<const bfloat16*>(p.x.data);
  const std::int64_t panels = num_panels(p.width);
  const auto* const weights = static_cast<const std::byte*>(p.weights.data) + tile.expert * 2 * panels * panel_bytes(p.hidden);
  typename T::Sums sums;
  multiply_int8_tile<T>(
      dynamic_shared<std::byte>(), tile.rows, static_cast<int>(p.hidden),
      [&](int i) { return i < tile.rows ? x + p.pair_rows[tile.first_pair + i] * p.hidden : nullptr; },
      [&](int i) {
        const std::int64_t panel = first / kPanelOutputs + i / 2;
        return panel < panels ? weights + (i % 2 * panels + panel) * panel_bytes(p.hidden) : nullptr;
      },
      sums);
  auto* const h = static_cast<bfloat16*>(p.h.data);
  const int quad = static_cast<int>(threadIdx.x % 4);
  const bool has_gate = quad < 2;
  for_each_pair<T>([&](int row, int i, int half, int pair) {
    float y[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float (&mine)[4] = sums[i][4 * pair + j];
      const float other = __shfl_xor_sync(kWholeWarp, has_gate ? mine[2 * half + 1] : mine[2 * half], 2);
      y[j] = has_gate ? silu_multiply(mine[2 * half], other) : silu_multiply(other, mine[2 * half + 1]);
    }
    const std::int64_t n = first + first_panel<T>(pair) / 2 * kPanelOutputs + (has_gate ? 2 * quad : 2 * quad - 3) * 4;
    if (row < tile.rows && n < p.width) {  // width is a multiple of 8
      *reinterpret_cast<uint2*>(h + (tile.first_pair + row) * p.width + n) = make_uint2(narrow_pair(y[0], y[1]), narrow_pair(y[2], y[3]));
    }
  });
}

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) down_int8_kernel(GroupedDownProblem p, ExpertSize which) {
  const GroupedTile tile = my_tile(p, which, T::kRows);
  if (tile.rows == 0) {
    return;
  }
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * T::kOutputs;
  const auto* const h = static_cast<const bfloat16*>(p.h.data) + tile.first_pair * p.width;
  const std::int64_t panels = num_panels(p.hidden);
  const auto* const weights = static_cast<const std::byte*>(p.weights.data) + tile.expert * panels * panel_bytes(p.width);
  typename T::Sums sums;
  multiply_int8_tile<T>(
      dynamic_shared<std::byte>(), tile.rows, static_cast<int>(p.width), [&](int i) { return i < tile.rows ? h + i * p.width : nullptr; },
      [&](int i) {
        const std::int64_t panel = first / kPanelOutputs + i;
        return panel < panels ? weights + panel * panel_bytes(p.width) : nullptr;
      },
      sums);
  for_each_pair<T>([&](int row, int i, int half, int pair) {
    if (row >= tile.rows) {
      return;
    }
    const std::int64_t pair_row = tile.first_pair + row;
    const float weight = p.pair_weights[pair_row];
#pragma unroll
    for (int v = 0; v < 2; ++v) {
      const int column = static_cast<int>(threadIdx.x % 4) * 2 + v;
      const std::int64_t n = first + (first_panel<T>(pair) + column / 4) * kPanelOutputs + column % 4 * 4;
      const auto y = [&](int j) { return __fmul_rn(weight, sums[i][4 * pair + j][2 * half + v]); };
      if (n < p.hidden) {  // hidden is a multiple of 8
        *reinterpret_cast<float4*>(p.y + pair_row * p.hidden + n) = make_float4(y(0), y(1), y(2), y(3));
      }
    }
  });
}

template <class T>
void launch_tiles(const GroupedGateUpProblem& p, ExpertSize which, cudaStream_t stream) {
  const dim3 blocks = grid_of(p.width, T::kOutputs / 2, most_grouped_tiles(p.most_pairs, p.num_local, T::kRows, which));
  launch(gate_up_int8_kernel<T>, {blocks, T::kThreads, T::kSharedBytes}, stream, p, which);
}
template <class T>
void launch_tiles(const GroupedDownProblem& p, ExpertSize which, cudaStream_t stream) {
  const dim3 blocks = grid_of(p.hidden, T::kOutputs, most_grouped_tiles(p.most_pairs, p.last_expert - p.first_expert, T::kRows, which));
  launch(down_int8_kernel<T>, {blocks, T::kThreads, T::kSharedBytes}, stream, p, which);
}

template <class Problem>
void compute(GroupedTiles tiles, const Problem& p, cudaStream_t stream) {
  tiles.tile == TileSize::kWide ? launch_tiles<WideInt8>(p, tiles.experts, stream) : launch_tiles<NarrowInt8>(p, tiles.experts, stream);
}

}  // namespace

void compute_int8(GroupedTiles tiles, const GroupedGateUpProblem& problem, cudaStream_t stream) { compute(tiles, problem, stream); }
void compute_int8(GroupedTiles tiles, const GroupedDownProblem& problem, cudaStream_t stream) { compute(tiles, problem, stream); }

}  // namespace unmask::experts::cuda
