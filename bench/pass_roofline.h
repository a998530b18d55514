// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "runtime/model_config.h"

namespace unmask::bench {

/// What a machine can do at best.
struct MachineRates {
  double flops = 0;              ///< bf16 products and sums per second
  double bytes_per_second = 0;   ///< read from memory
};

/// Seconds that one pass in bf16 on one rank must take: its stages (a layer's attention, its experts, the head) run one after
/// another, each bound by its products or by reading its weights once. counts [layers, experts] as Transformer::router_counts():
/// they say how many rows each layer had and which experts were read. Scores and values of the attention are left out.
struct PassRoofline {
  double compute_seconds = 0;  ///< of the stages bound by products
  double read_seconds = 0;     ///< of those bound by reading
  double seconds() const { return compute_seconds + read_seconds; }
};
PassRoofline pass_roofline(const runtime::ModelConfig& config, std::span<const std::int64_t> counts, const MachineRates& machine);

}  // namespace unmask::bench
