// SPDX-License-Identifier: Apache-2.0
// What the simulated runtime remembers between calls.
#pragma once

#include "simulator/host.h"

namespace simulator {

/// The sticky error of a broken device, or cudaSuccess.
cudaError_t fault_of_device();
/// Remembers an error as the thread's last, and hands it on; a broken device's comes first.
cudaError_t noted(cudaError_t error);
/// True while this thread captures a stream in another mode than relaxed: calls that wait or allocate are refused.
bool forbids_waiting();

}  // namespace simulator
