// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "experts/cuda/grouped_kernels.h"
#include "experts/cuda/int8_form.h"
#include "experts/cuda/tiled.h"
#include "experts/quantised.h"

namespace unmask::experts::cuda {
namespace {

constexpr QuantisedForm kInt8 = quantised_form(WeightType::kInt8);
static_assert(kInt8.group == kGroupInputs && kPanelOutputs == kPanelRows);
static_assert(kBlockScales == QuantisedForm::kScaleBytes && kInt8.block_tiles * kInt8.tile_bytes == 2 * kGroupNumbers);

template <class Problem>
void compute(GroupedTiles tiles, const Problem& p, cudaStream_t stream) {
  switch (p.weights.type) {
    case WeightType::kBf16:
      return p.kernel == GroupedKernel::kWgmma ? compute_wgmma(tiles, p, stream) : compute_mma(tiles, p, stream);
    case WeightType::kInt8:
      UNMASK_CHECK(p.kernel == GroupedKernel::kMma, "experts of int8 have no kernel with wgmma");
      return compute_int8(tiles, p, stream);
    case WeightType::kInt4:
      break;
  }
  UNMASK_CHECK(false, "there is no kernel for experts of type {}", static_cast<int>(p.weights.type));
}

/// With many pairs there are two launches: experts of up to 64 pairs, whose weights are read once by narrow tiles, and larger ones in
/// wide tiles.
template <class Problem>
void compute(const Problem& p, Precision precision, cudaStream_t stream) {
  if (precision == Precision::kFloat32) {
    UNMASK_CHECK(p.weights.type == WeightType::kBf16, "the parity mode takes weights of bfloat16");
    compute_floats(p, stream);
  } else if (divides_experts(p.most_pairs, p.num_local)) {
    compute({TileSize::kNarrow, ExpertSize::kSmall}, p, stream);
    compute({TileSize::kWide, ExpertSize::kLarge}, p, stream);
  } else {
    compute({TileSize::kNarrow, ExpertSize::kAny}, p, stream);
  }
}

}  // namespace

void grouped_gate_up(const GroupedGateUpProblem& problem, cudaStream_t stream) { compute(problem, problem.x.precision, stream); }
void grouped_down(const GroupedDownProblem& problem, cudaStream_t stream) { compute(problem, problem.h.precision, stream); }
void grouped_gate_up_by(TileSize tile, const GroupedGateUpProblem& problem, cudaStream_t stream) {
  compute({tile, ExpertSize::kAny}, problem, stream);
}
void grouped_down_by(TileSize tile, const GroupedDownProblem& problem, cudaStream_t stream) {
  compute({tile, ExpertSize::kAny}, problem, stream);
}

}  // namespace unmask::experts::cuda
