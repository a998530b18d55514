// SPDX-License-Identifier: Apache-2.0
#include "experts/cuda/tensor_map.h"

#include <array>

#include <cuda_runtime.h>

#include "base/error.h"
#include "experts/cuda/device.h"

namespace unmask::experts::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);
constexpr unsigned kVersion = 12000;  // of CUDA, in which the function came

/// Of the driver, which nothing is linked with.
Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result{};
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kVersion, cudaEnableDefault, &result), "cudaGetDriverEntryPointByVersion");
  require(result == cudaDriverEntryPointSuccess && function != nullptr, ExitCode::kBadInput,
          "expected a driver with cuTensorMapEncodeTiled, found none: install one for CUDA 12, or use --device-kernel mma");
  return reinterpret_cast<Encode>(function);
}

}  // namespace

CUtensorMap make_tensor_map(const bfloat16* data, const TensorShape& shape) {
  static const Encode encode = find_encode();
  constexpr std::size_t kRank = 5;
  std::array<cuuint64_t, kRank> sizes{};
  std::array<cuuint64_t, kRank - 1> strides{};
  std::array<cuuint32_t, kRank> box{}, steps{};
  for (std::size_t i = 0; i < kRank; ++i) {
    sizes[i] = static_cast<cuuint64_t>(shape.size[i]);
    box[i] = static_cast<cuuint32_t>(shape.box[i]);
    steps[i] = 1;
    if (i > 0) {
      strides[i - 1] = static_cast<cuuint64_t>(shape.stride[i]) * sizeof(bfloat16);
    }
  }
  CUtensorMap map{};
  const CUresult result = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, kRank, const_cast<bfloat16*>(data), sizes.data(), strides.data(), box.data(),
                                 steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                 CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  UNMASK_CHECK(result == CUDA_SUCCESS, "cuTensorMapEncodeTiled returned {} for a tensor of {} x {} x {} x {} x {}", static_cast<int>(result),
               sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]);
  return map;
}

}  // namespace unmask::experts::cuda
