// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "experts/cuda/dense_products.h"
#include "experts/cuda/device.h"
#include "runtime/device_backend.h"

namespace unmask::runtime::cuda {

/// Copies half a gigabyte within the memory of the thread's current device, and multiplies two bf16 matrices of 8,192 x 8,192, by what
/// computes dense products of that shape (cuBLASLt where it keeps the promise); each several times, the median. It holds 1.6 GB of the
/// device, taken once: to take and free them in each measurement would make the device wait, and move what else it holds.
class RateMeter {
 public:
  RateMeter();
  DeviceRates measure();

 private:
  experts::cuda::Stream stream_;
  experts::cuda::Array<std::byte> from_, to_;
  experts::cuda::Array<bfloat16> x_, w_;
  experts::cuda::Array<float> y_;
  experts::cuda::Array<std::int32_t> rows_;
  experts::cuda::DenseProducts dense_;
};

}  // namespace unmask::runtime::cuda
