// SPDX-License-Identifier: Apache-2.0
// How simulated libraries and launches queue work.
#pragma once

#include <functional>
#include <memory>

#include "simulator/block.h"
#include "simulator/host.h"

namespace simulator {

/// Until the last copy of the result is gone, nobody may free the device memory in which the address lies: a library has told others of it.
std::shared_ptr<const void> hold(const void* memory);

/// Runs `work` now, or keeps it for the graph that the stream is captured in.
cudaError_t queue(cudaStream_t stream, std::function<void()> work);

/// The same of a kernel; what is wrong with the grid is found here. Also remembered as the last error.
cudaError_t queue_kernel(cudaStream_t stream, const Launch& launch, std::function<void()> thread);

}  // namespace simulator
