// SPDX-License-Identifier: Apache-2.0
// Stands in front of experts/cuda/launch.cuh where kernels run on the simulator.
#pragma once

#include <tuple>
#include <type_traits>

#include <cuda_runtime.h>

#include "experts/cuda/device.h"
#include "simulator/queue.h"

namespace unmask::experts::cuda {

struct Grid {
  dim3 blocks;
  unsigned threads = 128;
  unsigned shared_bytes = 0;
};

/// Arguments are copied now, as a real launch does.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Grid& grid, cudaStream_t stream, Arguments&&... arguments) {
  if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) {
    return;
  }
  static_assert((!std::is_reference_v<Parameters> && ...), "a kernel cannot see the host's memory");
  std::tuple<std::remove_cv_t<Parameters>...> copied(std::forward<Arguments>(arguments)...);
  check(simulator::queue_kernel(stream, {__PRETTY_FUNCTION__, grid.blocks, grid.threads, grid.shared_bytes},
                                [kernel, copied] { std::apply(kernel, copied); }),
        "kernel launch");
}

template <class T>
T* dynamic_shared() {
  return reinterpret_cast<T*>(simulator::dynamic_shared_memory());
}

}  // namespace unmask::experts::cuda
