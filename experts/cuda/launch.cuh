// SPDX-License-Identifier: Apache-2.0
// How kernels are started: the only place with CUDA's own syntax for it, which tests replace (tests/cuda/simulator).
#pragma once

#include <utility>

#include <cuda_runtime.h>

#include "experts/cuda/device.h"

namespace unmask::experts::cuda {

struct Grid {
  dim3 blocks;
  unsigned threads = 128;        ///< of a block
  unsigned shared_bytes = 0;     ///< dynamic
};

/// Queues kernel(arguments...); a grid without blocks is nothing to do.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Grid& grid, cudaStream_t stream, Arguments&&... arguments) {
  if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) {
    return;
  }
  constexpr unsigned kWithoutAsking = 48 * 1024;
  if (grid.shared_bytes > kWithoutAsking) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(grid.shared_bytes)),
          "cudaFuncSetAttribute");
  }
  kernel<<<grid.blocks, grid.threads, grid.shared_bytes, stream>>>(std::forward<Arguments>(arguments)...);
  check(cudaGetLastError(), "kernel launch");
}

/// The block's dynamic shared memory.
template <class T>
__device__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char dynamic_shared_bytes[];
  return reinterpret_cast<T*>(dynamic_shared_bytes);
}

}  // namespace unmask::experts::cuda
