// SPDX-License-Identifier: Apache-2.0
// Tensors as Hopper's copies of boxes take them.
#pragma once

#include <cstdint>

#include <cuda.h>

#include "base/bfloat16.h"

namespace unmask::experts::cuda {

/// Of bfloat16, the innermost dimension first. Strides, in values, of all dimensions but the innermost, are multiples of 8 and of the
/// stride before.
struct TensorShape {
  std::int64_t size[5];
  std::int64_t stride[5];   ///< the first is 1
  std::int32_t box[5];      ///< what one copy brings: 64 values of the innermost dimension, 128-byte swizzled
};
/// Error where the driver has no such function or refuses the tensor. Only numbers: nothing is allocated.
CUtensorMap make_tensor_map(const bfloat16* data, const TensorShape& shape);

}  // namespace unmask::experts::cuda
