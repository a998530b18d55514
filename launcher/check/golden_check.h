// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "launcher/run/network.h"

namespace unmask::launcher {

struct GoldenResult {
  experts::Precision precision = experts::Precision::kFloat32;
  std::int64_t num_logits = 0, wrong_logits = 0;    ///< passes
  std::int64_t num_decodes = 0, wrong_decodes = 0;  ///< answers
  std::int64_t num_left_out = 0;   ///< decode cases with options that this version does not have
  double largest_difference = 0;   ///< of a logit, as a share of the largest logit
};

/// Collective, in f32, or in bf16 where --kernel names a family that has nothing else (then only the logits are compared, within
/// what rounding explains, as answers may differ): the golden cases of the model folder. Logits must be within 1e-4 of the largest one, router counts,
/// tokens, passes, rows and the positions unmasked in each step equal. The result is rank 0's.
GoldenResult check_golden(const Job& job);

}  // namespace unmask::launcher
