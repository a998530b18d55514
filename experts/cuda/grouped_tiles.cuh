// SPDX-License-Identifier: Apache-2.0
// What the kernels of the experts' products have in common: a block finds its tile by itself in the offsets, so that neither the host
// nor a list is waited for; blocks past the last tile end at once.
#pragma once

#include "experts/cuda/kernels.h"
#include "experts/cuda/tile_products.cuh"
#include "experts/cuda/tiled.h"

namespace unmask::experts::cuda {

inline constexpr unsigned kWholeWarp = 0xffffffffU;
static_assert(NarrowTile::kRows == kLargeExpert);

struct GroupedTile {
  int expert;
  int first_pair;
  int rows;  ///< 0: there is no such tile
};

/// Tile `index` of the experts [first, last) of a size, each of which has as many tiles as its pairs need. Every warp looks for itself.
__device__ inline GroupedTile find_tile(const std::int32_t* offsets, int first, int last, ExpertSize which, int tile_rows, int index) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  for (int group = first; group < last; group += static_cast<int>(kWarp)) {
    const int expert = group + lane;
    const int begin = expert < last ? offsets[expert] : 0;
    const int count = expert < last ? offsets[expert + 1] - begin : 0;
    const bool mine = which == ExpertSize::kAny || (which == ExpertSize::kLarge) == (count > kLargeExpert);
    const int tiles = mine ? (count + tile_rows - 1) / tile_rows : 0;
    int up_to = tiles;  // of the group, mine included
    for (unsigned by = 1; by < kWarp; by *= 2) {
      const int other = __shfl_up_sync(kWholeWarp, up_to, by);
      up_to += lane >= static_cast<int>(by) ? other : 0;
    }
    const unsigned behind = __ballot_sync(kWholeWarp, up_to > index);
    if (behind != 0) {
      const int holder = __ffs(static_cast<int>(behind)) - 1;
      const int place = index - (up_to - tiles);  // among the lane's expert's tiles
      const int left = count - place * tile_rows;
      return {group + holder, __shfl_sync(kWholeWarp, begin + place * tile_rows, holder),
              __shfl_sync(kWholeWarp, left < tile_rows ? left : tile_rows, holder)};
    }
    index -= __shfl_sync(kWholeWarp, up_to, static_cast<int>(kWarp) - 1);
  }
  return {0, 0, 0};
}

__device__ inline GroupedTile my_tile(const GroupedGateUpProblem& p, ExpertSize which, int rows) {
  return find_tile(p.offsets, 0, static_cast<int>(p.num_local), which, rows, static_cast<int>(blockIdx.y));
}
__device__ inline GroupedTile my_tile(const GroupedDownProblem& p, ExpertSize which, int rows) {
  return find_tile(p.offsets, static_cast<int>(p.first_expert), static_cast<int>(p.last_expert), which, rows, static_cast<int>(blockIdx.y));
}

__device__ inline float silu_multiply(float gate, float up) {
  constexpr float kLog2e = 1.44269504F;
  return __fmul_rn(__fmul_rn(gate, fast_reciprocal(__fadd_rn(1.0F, fast_exp2(__fmul_rn(-gate, kLog2e))))), up);
}

inline dim3 grid_of(std::int64_t outputs, std::int64_t tile_outputs, std::int64_t tiles) {
  return dim3(static_cast<unsigned>(tiles_of(outputs, tile_outputs)), static_cast<unsigned>(tiles));
}

}  // namespace unmask::experts::cuda
