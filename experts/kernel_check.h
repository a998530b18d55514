// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "experts/kernels.h"

namespace unmask::experts {

/// One comparison of a kernel with its plainest form.
struct KernelCheck {
  std::string what;         ///< operation and shapes
  double difference = 0;    ///< largest |a - b|
  double bound = 0;         ///< what rounding alone may explain
  bool passed() const { return difference <= bound; }
};

/// Runs every kernel of the family on random values of awkward shapes and compares with loops in double precision; also
/// that a row's product is bit for bit the same alone and among others. Some 50 ms.
std::vector<KernelCheck> check_kernels(const KernelFamily& family);

}  // namespace unmask::experts
