// SPDX-License-Identifier: Apache-2.0
// One shape of dense product as cuBLASLt sees it: column-major, so y^T [n, rows] (+)= w^T [k, n]^T x^T [k, rows], bfloat16 inputs,
// float32 sums and outputs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <cublasLt.h>

#include "base/unique_handle.h"
#include "experts/cuda/kernels.h"

namespace unmask::experts::cuda {

/// Throws Error naming the call and what the library says.
void check_library(cublasStatus_t status, std::string_view call);

template <class Handle, cublasStatus_t (*destroy)(Handle)>
struct LibraryTraits {
  using Value = Handle;
  static Value empty() { return nullptr; }
  static void close(Value value) noexcept { static_cast<void>(destroy(value)); }
};
using LibraryHandle = UniqueHandle<LibraryTraits<cublasLtHandle_t, cublasLtDestroy>>;
using LibraryLayout = UniqueHandle<LibraryTraits<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>>;
using LibraryOperation = UniqueHandle<LibraryTraits<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>>;
LibraryHandle make_library_handle();

struct ProductShape {
  std::int64_t n = 0, k = 0, y_stride = 0;
  DenseProblem::Store store = DenseProblem::Store::kWrite;
  auto operator<=>(const ProductShape&) const = default;
};

/// An algorithm that the library offers, and why it is of no use; empty: it may be.
struct OfferedAlgorithm {
  cublasLtMatmulAlgo_t algorithm;
  std::string refused;
};

class LibraryProduct {
 public:
  explicit LibraryProduct(const ProductShape& shape);

  /// What the library would take for so many rows, best first.
  std::vector<OfferedAlgorithm> offered(cublasLtHandle_t handle, std::int64_t rows, std::uint64_t workspace_bytes) const;
  /// Whether the algorithm, as it is, can do so many rows.
  bool serves(cublasLtHandle_t handle, const cublasLtMatmulAlgo_t& algorithm, std::int64_t rows, std::uint64_t workspace_bytes) const;

  struct Run {
    const bfloat16 *x, *w;
    std::int64_t rows;
    float* y;
    void* workspace;
    std::uint64_t workspace_bytes;
  };
  void run(cublasLtHandle_t handle, const cublasLtMatmulAlgo_t& algorithm, const Run& run, cudaStream_t stream) const;

 private:
  struct Layouts {
    LibraryLayout w, x, y;
  };
  Layouts layouts(std::int64_t rows) const;

  ProductShape shape_;
  LibraryOperation operation_;
};

/// "algorithm 66, tile 20, stages 35", for the log.
std::string describe(const cublasLtMatmulAlgo_t& algorithm);

}  // namespace unmask::experts::cuda
