// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "runtime/sampling.h"

namespace unmask::runtime {

/// The confidence of a position that is not masked.
constexpr float kNotMasked = -std::numeric_limits<float>::infinity();

/// Where in an answer a step stands.
struct StepPlace {
  std::int64_t block_size;
  std::int64_t step;  ///< of the block
  std::int64_t pass;  ///< of the answer
};

/// What a decoder is held to in a step.
struct StepPlan {
  std::int64_t planned = 1;  ///< see planned_unmasks
  double threshold = 0;      ///< with smoothing it comes down from 1: max(1 - threshold_decay * pass, threshold) (dInfer)
};
StepPlan plan_step(const SamplingOptions& options, const StepPlace& place);

/// How many positions the `steps` decoder unmasks in step `step` of a block: the block's positions shared out equally over
/// max(1, steps / blocks) steps, earlier steps taking one more; 1 in any step beyond (LLaDA generate.py).
std::int64_t planned_unmasks(const SamplingOptions& options, std::int64_t block_size, std::int64_t step);

/// Which positions of the active block a step unmasks: ascending, at least one. confidence [block] is kNotMasked where a
/// position is not masked; at least one is. Comparisons are in float32, of equal confidences the lower position goes first.
///   steps      the `planned` most confident
///   threshold  all with confidence >= threshold, and always the best (Fast-dLLM); credit likewise
///   factor     sorted c1 >= c2 ...: the n-th while c_n >= 1 - factor / (n + 1) (Fast-dLLM)
///   hierarchy  all >= threshold, the best, and the best of each masked run if > low_threshold (dInfer)
std::vector<std::int64_t> choose_positions(std::span<const float> confidence, const SamplingOptions& options,
                                           const StepPlan& plan);

}  // namespace unmask::runtime
