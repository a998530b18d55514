// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "experts/kernels.h"
#include "experts/quantised.h"

namespace unmask::bench {

// What is timed is compared with plain code first, on small awkward shapes. All throw Error(kSomeFailed) where a difference is
// larger than rounding explains.

/// How a network computes.
struct Arithmetic {
  experts::Precision precision = experts::Precision::kBfloat16;
  experts::WeightType type = experts::WeightType::kBf16;  ///< of the experts
};

/// Grouped experts with those of the plainest family.
void check_grouped_experts(const experts::KernelFamily& family, Arithmetic arithmetic, int num_threads);

/// The same, and every kernel of the family with loops in double precision.
void check_experts(const experts::KernelFamily& family, Arithmetic arithmetic, int num_threads);

/// Passes of a small network, with and without stored keys and values, head included, with those of the plainest family.
/// `device`: what else runs the network (runtime/device_backend.h), or "cpu".
void check_network(const experts::KernelFamily& family, Arithmetic arithmetic, int num_threads, std::string_view device = "cpu");

}  // namespace unmask::bench
