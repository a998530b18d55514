// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "bench/pass_roofline.h"
#include "launcher/run/network.h"

namespace unmask::launcher {

/// Which experts this rank's rows chose, step by step: what the roofline of a load is found from once it is over. The same steps
/// on every rank: those in which any of them had rows.
class StepCounts {
 public:
  void add(std::span<const std::int64_t> router_counts) {
    for (const std::int64_t count : router_counts) {
      counts_.push_back(static_cast<std::int32_t>(count));  // rows of a step
    }
  }

 private:
  friend class LoadRoofline;
  std::vector<std::int32_t> counts_;  ///< [steps, layers, experts]
};

/// What the machine allows at best, measured once, with all ranks at a time as they share the memory of their host.
class LoadRoofline {
 public:
  /// Collective.
  LoadRoofline(const Job& job, Network& network);

  /// Collective. Seconds of all steps: of each, those of the rank that has most to do. On rank 0; undefined elsewhere.
  bench::PassRoofline of(const StepCounts& steps) const;
  /// Sums over the ranks.
  const bench::MachineRates& machine() const { return all_; }

 private:
  std::vector<bench::PassRoofline> of_my_part(const StepCounts& steps) const;

  const Job& job_;
  Network& network_;
  bench::MachineRates mine_, all_;
};

}  // namespace unmask::launcher
