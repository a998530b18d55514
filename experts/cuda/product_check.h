// SPDX-License-Identifier: Apache-2.0
// Whether a way to compute dense products keeps the promise, found out on the device with real weights and random rows.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "experts/cuda/library_product.h"

namespace unmask::experts::cuda {

struct ProductCheck {
  ProductShape shape;
  const bfloat16* w;
  std::int64_t most_rows;
  /// y (+)= x w^T for so many rows, queued on the stream.
  std::function<void(const bfloat16* x, std::int64_t rows, float* y)> multiply;
};

/// Empty, or what was found: a row that has other bits alone, or among fewer rows, or elsewhere than among all; or a wrong sum.
/// Waits; needs memory for most_rows rows of x and, up to 256 MiB of it, of y.
std::string check_product(const ProductCheck& asked, cudaStream_t stream);

}  // namespace unmask::experts::cuda
