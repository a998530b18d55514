// SPDX-License-Identifier: Apache-2.0
// What operations on a GPU take and give.
#pragma once

#include <cstdint>

#include "experts/precision.h"

namespace unmask::experts::cuda {

/// A count in device memory, and what it never exceeds.
struct Count {
  const std::int32_t* real;
  std::int64_t most;
};

/// Values as matrix products take them: bfloat16, or float with Precision::kFloat32.
struct Inputs {
  const void* data;
  Precision precision;
};
struct Outputs {
  void* data;
  Precision precision;
  operator Inputs() const { return {data, precision}; }
};

}  // namespace unmask::experts::cuda
