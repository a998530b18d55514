// SPDX-License-Identifier: Apache-2.0
// What tests may ask of the simulated machine.
#pragma once

#include <cstddef>

#include "simulator/host.h"

namespace simulator {

/// Devices that cudaGetDeviceCount finds (1 at first; 0: as on a machine without any).
void set_device_count(int count);
/// Bytes of a device's memory, 8 GiB at first.
void set_device_memory(std::size_t bytes);
/// From now on every call returns this error, as after a fault of a kernel; cudaSuccess repairs the device.
void break_device(cudaError_t error);
/// Kernels run so far, those of replayed graphs among them.
long long num_launches();

}  // namespace simulator
