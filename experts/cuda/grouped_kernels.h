// SPDX-License-Identifier: Apache-2.0
// Who computes the experts' products, each for a form of weights or rows; grouped_gate_up() and grouped_down() choose (grouped_choice.cpp).
#pragma once

#include "experts/cuda/kernels.h"
#include "experts/cuda/tile_choice.h"

namespace unmask::experts::cuda {

/// Rows of float32, weights of bfloat16.
void compute_floats(const GroupedGateUpProblem& problem, cudaStream_t stream);
void compute_floats(const GroupedDownProblem& problem, cudaStream_t stream);

/// In tiles of that size, kFew is taken as kNarrow: the pairs of experts of a size.
struct GroupedTiles {
  TileSize tile;
  ExpertSize experts;
};
/// Rows and weights of bfloat16, mma.sync.
void compute_mma(GroupedTiles tiles, const GroupedGateUpProblem& problem, cudaStream_t stream);
void compute_mma(GroupedTiles tiles, const GroupedDownProblem& problem, cudaStream_t stream);
/// The same with TMA and wgmma: compute capability 9.0 alone. kWide: 256 pairs.
void compute_wgmma(GroupedTiles tiles, const GroupedGateUpProblem& problem, cudaStream_t stream);
void compute_wgmma(GroupedTiles tiles, const GroupedDownProblem& problem, cudaStream_t stream);
/// Rows of bfloat16, weights of int8, mma.sync.
void compute_int8(GroupedTiles tiles, const GroupedGateUpProblem& problem, cudaStream_t stream);
void compute_int8(GroupedTiles tiles, const GroupedDownProblem& problem, cudaStream_t stream);

}  // namespace unmask::experts::cuda
