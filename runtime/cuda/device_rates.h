// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/device_backend.h"

namespace unmask::runtime::cuda {

/// Copies a gigabyte within the current device's memory, and multiplies two bf16 matrices of 8,192 x 8,192, several times; the median.
DeviceRates measure_rates();

}  // namespace unmask::runtime::cuda
