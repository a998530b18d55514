// SPDX-License-Identifier: Apache-2.0
// The experts' products on Hopper, weights of bfloat16: TMA and wgmma (wgmma_products.cuh). Never run on a device, and chosen only by name.
#include "experts/cuda/grouped_kernels.h"
#include "experts/cuda/grouped_tiles.cuh"
#include "experts/cuda/tensor_map.h"
#include "experts/cuda/wgmma_products.cuh"

namespace unmask::experts::cuda {
namespace {

constexpr int kEight = 8;                                 // weight rows between which gate and up take turns
constexpr int kGateUpOutputs = kWeightRows / 2;           // of a block, of each

/// [expert][gate, up][width / 8][8][hidden], copied in boxes of 8 rows of gate and the same of up: a thread's two rows of a product, 8
/// apart, then are the gate and the up of one output.
CUtensorMap map_of(const GroupedGateUpProblem& p) {
  const std::int64_t matrix = p.width * p.hidden;
  return make_tensor_map(static_cast<const bfloat16*>(p.weights.data),
                         {.size = {p.hidden, kEight, p.width / kEight, 2, p.num_local},
                          .stride = {1, p.hidden, kEight * p.hidden, matrix, 2 * matrix},
                          .box = {kSliceInputs, kEight, 1, 2, 1}});
}

/// [expert][hidden][width], 128 rows at a time; the two dimensions of size 1 are there since boxes have five.
CUtensorMap map_of(const GroupedDownProblem& p) {
  const std::int64_t matrix = p.hidden * p.width;
  return make_tensor_map(static_cast<const bfloat16*>(p.weights.data), {.size = {p.width, p.hidden, p.num_local, 1, 1},
                                                                        .stride = {1, p.width, matrix, p.num_local * matrix, p.num_local * matrix},
                                                                        .box = {kSliceInputs, kWeightRows, 1, 1, 1}});
}

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks)
    gate_up_wgmma_kernel(GroupedGateUpProblem p, ExpertSize which, const __grid_constant__ CUtensorMap map) {
  const GroupedTile tile = my_tile(p, which, T::kPairs);
  if (tile.rows == 0) {
    return;
  }
  const int first = static_cast<int>(blockIdx.x) * kGateUpOutputs;
  const Ring<T> ring;
  open_ring(ring, tile.rows, [&](int i) { return p.pair_rows[tile.first_pair + i]; });
  if (warp_in_block() == kConsumerWarps) {
    feed_ring(ring, tile.rows, static_cast<const bfloat16*>(p.x.data), static_cast<int>(p.hidden), [&](std::byte* to, int k, Barrier* full) {
      for (int i = 0; i < kGateUpOutputs / kEight; ++i) {
        copy_box(to + i * 2 * kAtom, map, {{k, 0, first / kEight + i, 0, tile.expert}}, full);
      }
    });
    return;
  }
  typename T::Sums sums;
  multiply_ring(ring, static_cast<int>(p.hidden), sums);
  const int n = first + warp_in_block() * kEight + static_cast<int>(threadIdx.x % kWarp) / 4;
  auto* const h = static_cast<bfloat16*>(p.h.data);
  if (n < p.width) {
    for_each_pair_sum<T>(tile.rows, [&](int pair, int i) { h[(tile.first_pair + pair) * p.width + n] = narrow(silu_multiply(sums[i], sums[i + 2])); });
  }
}

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks)
    down_wgmma_kernel(GroupedDownProblem p, ExpertSize which, const __grid_constant__ CUtensorMap map) {
  const GroupedTile tile = my_tile(p, which, T::kPairs);
  if (tile.rows == 0) {
    return;
  }
  const int first = static_cast<int>(blockIdx.x) * kWeightRows;
  const Ring<T> ring;
  open_ring(ring, tile.rows, [&](int i) { return tile.first_pair + i; });
  if (warp_in_block() == kConsumerWarps) {
    feed_ring(ring, tile.rows, static_cast<const bfloat16*>(p.h.data), static_cast<int>(p.width),
              [&](std::byte* to, int k, Barrier* full) { copy_box(to, map, {{k, first, tile.expert, 0, 0}}, full); });
    return;
  }
  typename T::Sums sums;
  multiply_ring(ring, static_cast<int>(p.width), sums);
  const int n = first + warp_in_block() * 16 + static_cast<int>(threadIdx.x % kWarp) / 4;
  for_each_pair_sum<T>(tile.rows, [&](int pair, int i) {
    const float weight = p.pair_weights[tile.first_pair + pair];
    float* const y = p.y + (tile.first_pair + pair) * p.hidden;
    if (n < p.hidden) {
      y[n] = __fmul_rn(weight, sums[i]);
    }
    if (n + 8 < p.hidden) {
      y[n + 8] = __fmul_rn(weight, sums[i + 2]);
    }
  });
}

template <class T>
void launch_tiles(const GroupedGateUpProblem& p, ExpertSize which, cudaStream_t stream) {
  const dim3 blocks = grid_of(p.width, kGateUpOutputs, most_grouped_tiles(p.most_pairs, p.num_local, T::kPairs, which));
  launch(gate_up_wgmma_kernel<T>, {blocks, T::kThreads, T::kSharedBytes}, stream, p, which, map_of(p));
}
template <class T>
void launch_tiles(const GroupedDownProblem& p, ExpertSize which, cudaStream_t stream) {
  const dim3 blocks = grid_of(p.hidden, kWeightRows, most_grouped_tiles(p.most_pairs, p.last_expert - p.first_expert, T::kPairs, which));
  launch(down_wgmma_kernel<T>, {blocks, T::kThreads, T::kSharedBytes}, stream, p, which, map_of(p));
}

template <class Problem>
void compute(GroupedTiles tiles, const Problem& p, cudaStream_t stream) {
  tiles.tile == TileSize::kWide ? launch_tiles<ManyPairs>(p, tiles.experts, stream) : launch_tiles<FewPairs>(p, tiles.experts, stream);
}

}  // namespace

void compute_wgmma(GroupedTiles tiles, const GroupedGateUpProblem& problem, cudaStream_t stream) { compute(tiles, problem, stream); }
void compute_wgmma(GroupedTiles tiles, const GroupedDownProblem& problem, cudaStream_t stream) { compute(tiles, problem, stream); }

}  // namespace unmask::experts::cuda
