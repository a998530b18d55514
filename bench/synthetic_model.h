// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/thread_team.h"
#include "cluster/placement.h"
#include "runtime/model_config.h"
#include "runtime/weight_targets.h"

namespace unmask::bench {

/// All weights that a rank holds of a network, made in memory. A matrix's values depend on its place in the network alone:
/// not on ranks, threads or layout, quantised experts on how they round; no two rows of the network are alike. Deviations as make_checkpoint's: matrices
/// 1 / sqrt(inputs), embedding 1, norm weights within 1 +- 0.1. Throws Error(kBadInput) where memory is short.
runtime::ModelWeights synthetic_model(const runtime::ModelConfig& config, const cluster::Placement& placement, Rank rank,
                                      const runtime::WeightForms& forms, ThreadTeam& team);

}  // namespace unmask::bench
