// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "experts/kernels.h"
#include "experts/quantised.h"

namespace unmask::bench {

// What is timed is compared with plain code first, on small awkward shapes. All throw Error(kSomeFailed) where a difference is
// larger than rounding explains.

/// Every kernel of the family with loops in double precision, and its grouped experts with those of the plainest family.
void check_experts(const experts::KernelFamily& family, experts::Precision precision, experts::WeightType type, int num_threads);

/// Passes of a small network, with and without stored keys and values, head included, with those of the plainest family.
void check_network(const experts::KernelFamily& family, experts::Precision precision, int num_threads);

}  // namespace unmask::bench
