// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "runtime/model_config.h"

namespace unmask::bench {

/// What a machine can do at best.
struct MachineRates {
  double flops = 0;              ///< products and sums per second of the kernels' own instruction
  double bytes_per_second = 0;   ///< read from memory
};

/// Seconds that one pass must take on a rank: its stages (a layer's attention, its experts, the head) run one after another,
/// each bound by its products or by reading its weights once.
struct PassRoofline {
  double compute_seconds = 0;  ///< of the stages bound by products
  double read_seconds = 0;     ///< of those bound by reading
  double seconds() const { return compute_seconds + read_seconds; }
};

/// What a rank does in a pass; both [layers, experts] as Transformer::router_counts().
struct PassRows {
  std::span<const std::int64_t> chosen;    ///< by the rank's own rows: they say how many rows each layer had
  std::span<const std::int64_t> computed;  ///< rows of all ranks for the experts that this rank holds, 0 for the others
};

/// Rows between ranks, and scores and values of the attention, are left out: a lower bound. All weights but the experts' are bf16.
/// `expert_bytes`: one expert's three matrices.
PassRoofline pass_roofline(const runtime::ModelConfig& config, double expert_bytes, const PassRows& rows, const MachineRates& machine);

}  // namespace unmask::bench
