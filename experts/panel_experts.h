// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "cluster/expert_work.h"
#include "experts/expert_weights.h"
#include "experts/linear.h"

namespace unmask::experts {

/// The grouped expert product for weights in panels. Experts are worked on side by side, in two steps:
///
///   1. task = (expert, some panels of gate and up):   rows --gather--> x --gate, up, silu--> h
///   2. task = some panels of every expert's down:     h --down, weight--> += slots, ascending by expert
///
/// A task of step 2 owns columns of the slots, so that sums need neither locks nor a buffer of expert rows.
class PanelExperts {
 public:
  /// Adds to slots [work.num_slots, hidden]; new ones start from zero.
  void run(const Compute& compute, const ExpertWeights& experts, std::int64_t hidden, const cluster::ExpertWork& work,
           float* slots);

 private:
  /// An expert with something to do.
  struct Busy {
    const Expert* expert;
    std::span<const cluster::Assignment> picked;
    bfloat16* h;  ///< row tiles [picked rows, width]
    bfloat16* x;  ///< row tiles [picked rows, hidden], where they are gathered once for all tasks; else null
    std::int64_t first_tile;
  };
  /// Some panels of one expert's gate and up.
  struct Task {
    const Busy* busy;
    std::int64_t panel_begin, panel_end;
  };

  /// What one thread needs for itself.
  struct Workspace {
    AlignedBuffer<bfloat16> x;         ///< gathered rows
    AlignedBuffer<bfloat16> expanded;  ///< panels of quantised weights on their way to the kernel
    bfloat16* expanded_of(const Matrix& m);
  };
  struct Slots {
    std::int64_t begin, end;  ///< those that nobody has written to
    float* values;            ///< [all slots, hidden]
  };

  void list_busy(const ExpertWeights& experts, const cluster::ExpertWork& work);
  void list_tasks(int num_threads);
  void gather_once(const Compute& compute, const cluster::ExpertWork& work, const PanelKernels& kernels);
  void gate_up(const Task& task, const cluster::ExpertWork& work, const PanelKernels& kernels, Workspace& mine);
  void add_down(std::int64_t panel_begin, std::int64_t panel_end, const PanelKernels& kernels, Slots to, Workspace& mine) const;

  std::vector<Busy> busy_;  ///< ascending by expert
  std::vector<Task> tasks_;
  AlignedBuffer<bfloat16> h_;
  AlignedBuffer<bfloat16> gathered_;
  std::vector<Workspace> mine_;  ///< by thread
};

}  // namespace unmask::experts
