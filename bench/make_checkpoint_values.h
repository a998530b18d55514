// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/bfloat16.h"
#include "runtime/tensor_slots.h"

namespace unmask::bench {

/// Random numbers of one tensor, uniform around `mean`: value i depends on seed, tensor name and i alone.
struct RandomTensor {
  std::uint64_t seed = 0;
  std::uint64_t name_hash = 0;
  float mean = 0;
  float half_width = 1;  ///< of the interval

  /// Values first .. first + values.size() - 1.
  void fill(std::int64_t first, std::span<bfloat16> values) const;
};

/// Scaled so that activations keep their size from layer to layer: matrices have standard deviation 1 / sqrt(inputs), the
/// embedding 1, norm weights lie within 1 +- 0.1.
RandomTensor random_tensor(const runtime::TensorSlot& slot, std::uint64_t seed);

}  // namespace unmask::bench
