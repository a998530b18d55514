// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "cluster/expert_work.h"
#include "experts/expert_weights.h"
#include "experts/linear.h"

namespace unmask::experts {

/// The grouped expert product for weights in panels. Experts are worked on side by side, as many at a time as keep h and the
/// slots of their rows near the processor, in two steps:
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
    const std::uint8_t* begins;  ///< by picked row: not 0 where it is the first of its slot
    std::byte* h;  ///< row tiles [picked rows, width]
    std::byte* x;  ///< row tiles [picked rows, hidden], where they are gathered once for all tasks; else null
  };
  /// Some panels of one expert's gate and up.
  struct Task {
    const Busy* busy;
    std::int64_t panel_begin, panel_end;
  };

  /// What one thread needs for itself.
  struct Workspace {
    AlignedBuffer<std::byte> x;        ///< gathered rows
    AlignedBuffer<bfloat16> expanded;  ///< panels of quantised weights on their way to the kernel
    bfloat16* expanded_of(const Matrix& m);
  };
  struct Panels {
    std::int64_t begin, end;
  };

  static bool has_many_rows(std::span<const Busy> batch);
  void list_busy(const ExpertWeights& experts, const cluster::ExpertWork& work);
  void find_beginnings(std::int64_t hidden, const cluster::ExpertWork& work, float* slots);
  std::span<Busy> take_batch(std::span<Busy>& rest, const PanelKernels& kernels);
  void list_tasks(std::span<const Busy> batch, int num_threads);
  void gather_once(const Compute& compute, std::span<Busy> batch, const cluster::ExpertWork& work, const PanelKernels& kernels);
  void run_batch(const Compute& compute, std::span<Busy> batch, std::int64_t hidden, const cluster::ExpertWork& work, float* slots);
  void gate_up(const Task& task, const cluster::ExpertWork& work, const Compute& compute, Workspace& mine);
  static void add_down(std::span<const Busy> batch, const Panels& panels, const PanelKernels& kernels, float* slots, Workspace& mine);

  std::vector<Busy> busy_;  ///< ascending by expert
  std::vector<Task> tasks_;
  std::vector<std::uint8_t> begins_;  ///< by assignment
  std::vector<std::uint8_t> begun_;   ///< by new slot
  AlignedBuffer<std::byte> h_;
  AlignedBuffer<std::byte> gathered_;
  std::vector<Workspace> mine_;  ///< by thread
};

}  // namespace unmask::experts
