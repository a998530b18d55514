// SPDX-License-Identifier: Apache-2.0
// Who computes the dense products: cuBLASLt for shapes where one algorithm was found that keeps the promise of kernels.h, else our
// own kernel (multiply()), which also does the parity mode.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "experts/cuda/device.h"
#include "experts/cuda/library_product.h"

namespace unmask::experts::cuda {

/// On one stream: products share a workspace.
class DenseProducts {
 public:
  struct Plan {
    ProductShape shape;
    const bfloat16* w;            ///< weights of this shape, for the self-test
    std::int64_t most_rows;       ///< that a call of the library takes: products of more take several
  };
  /// Looks for an algorithm, tests it on the device, and waits. Before the first product of the shape; not under capture. Pinned
  /// for good: a later call for the same shape only says what was found. True: the library computes products of this shape.
  bool prepare(const Plan& plan, cudaStream_t stream);

  /// As cuda::multiply(): shapes that nobody prepared, or that the library refused, and all of the parity mode, by our own kernel.
  /// The library computes all rows.most rows.
  void multiply(const DenseProblem& problem, cudaStream_t stream);

  /// A line for each shape prepared: what was chosen, and why others were not.
  const std::vector<std::string>& log() const { return log_; }

 private:
  struct Pinned {
    LibraryProduct product;
    cublasLtMatmulAlgo_t algorithm;
    std::int64_t most_rows;
  };
  std::optional<Pinned> search(const Plan& plan, cudaStream_t stream, std::string& said);
  std::string objection(const Plan& plan, const LibraryProduct& product, const cublasLtMatmulAlgo_t& algorithm, cudaStream_t stream);
  void start();

  LibraryHandle handle_;
  Array<std::byte> workspace_;
  std::map<ProductShape, std::optional<Pinned>> pinned_;
  std::vector<std::string> log_;
};

}  // namespace unmask::experts::cuda
