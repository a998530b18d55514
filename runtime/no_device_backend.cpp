// SPDX-License-Identifier: Apache-2.0
// In a build without CUDA.
#include "runtime/device_backend.h"

namespace unmask::runtime {

const DeviceBackend* device_backend() { return nullptr; }

}  // namespace unmask::runtime
