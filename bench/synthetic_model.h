// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/thread_team.h"
#include "cluster/placement.h"
#include "runtime/model_config.h"
#include "runtime/weight_targets.h"

namespace unmask::bench {

/// Attention with random weights averages over all positions: it takes out what sets them apart and gives back what they have in
/// common. At full size that doubles with every layer, until all rows are alike and choose the same experts (25 of 64 were
/// touched in the last layer of 16); so little of it is added that the routing stays uniform.
inline constexpr double kAttentionGain = 0.125;

/// All weights that a rank holds of a network, made in memory. A matrix's values depend on its place in the network alone:
/// not on ranks, threads or layout, quantised experts on how they round; no two rows of the network are alike. Deviations: matrices
/// 1 / sqrt(inputs), attention's output projection kAttentionGain of that, embedding 1, norm weights within 1 +- 0.1. Throws Error(kBadInput) where memory is short.
runtime::ModelWeights synthetic_model(const runtime::ModelConfig& config, const cluster::Placement& placement, Rank rank,
                                      const runtime::WeightForms& forms, ThreadTeam& team);

}  // namespace unmask::bench
