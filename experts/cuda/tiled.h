// SPDX-License-Identifier: Apache-2.0
// The products of kernels.h with tiles of a given size, for tests and measurements: the bits are the same with all of them.
#pragma once

#include "experts/cuda/kernels.h"
#include "experts/cuda/tile_choice.h"

namespace unmask::experts::cuda {

void multiply_by(TileSize tile, const DenseProblem& problem, cudaStream_t stream);
/// In bfloat16; all experts with the one tile, kFew is taken as kNarrow.
void grouped_gate_up_by(TileSize tile, const GroupedGateUpProblem& problem, cudaStream_t stream);
void grouped_down_by(TileSize tile, const GroupedDownProblem& problem, cudaStream_t stream);

}  // namespace unmask::experts::cuda
