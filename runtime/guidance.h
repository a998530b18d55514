// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "runtime/step_batch.h"

namespace unmask::runtime {

/// Classifier-free guidance (LLaDA generate.py): logits = without + (scale + 1) * (with - without). The head is a linear map, so
/// the same sum of the two sides' rows in front of it gives these logits, and one row goes through the head instead of two.
///
///   wanted   | rows .. | with | without | rows .. |   [.., hidden], after the final norm
///   returned | rows .. | joined | rows .. |           in place, the gaps closed
std::span<float> join_sides(std::span<float> wanted, std::int64_t hidden, std::span<const StepBatch::Guided> guided);

}  // namespace unmask::runtime
