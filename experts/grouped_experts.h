// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "cluster/expert_work.h"
#include "experts/expert_weights.h"
#include "experts/linear.h"
#include "experts/panel_experts.h"

namespace unmask::experts {

/// The grouped expert product of one layer on one rank: each expert's weights are read once per call.
///
///   rows of the expert --gather--> x --gate, up--> silu(g) * u --down--> y --weight--> += slots
class GroupedExperts {
 public:
  /// Returns slots [work.num_slots, hidden] as ExpertWork defines them, valid until the next layer's first call. Slots take
  /// their terms in ascending order of expert, whatever the team's size.
  std::span<const float> run(const Compute& compute, const ExpertWeights& experts, std::int64_t hidden,
                             const cluster::ExpertWork& work);

 private:
  void run_one(const Compute& compute, const Expert& expert, const cluster::ExpertWork& work,
               std::span<const cluster::Assignment> assignments);

  PanelExperts panels_;        ///< where weights are in panels; else:
  AlignedBuffer<float> x_;     ///< [rows of the expert, hidden]
  AlignedBuffer<float> gate_;  ///< [rows, width], then silu(gate) * up
  AlignedBuffer<float> up_;    ///< [rows, width]
  AlignedBuffer<float> y_;     ///< [rows, hidden]
  AlignedBuffer<float> slots_;
};

}  // namespace unmask::experts
