// SPDX-License-Identifier: Apache-2.0
#include <cublasLt.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <mutex>
#include <type_traits>
#include <utility>

#include "base/bfloat16.h"
#include "memory.h"
#include "simulator/cublaslt_control.h"
#include "simulator/queue.h"

struct cublasLtContext {};
struct cublasLtMatmulDescOpaque_t {
  std::int32_t transa = CUBLAS_OP_N, transb = CUBLAS_OP_N;
};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType type;
  std::int64_t rows, cols, ld;
};
struct cublasLtMatmulPreferenceOpaque_t {
  std::uint64_t workspace = 0;
};

namespace simulator {
namespace {

std::mutex mutex;
std::vector<LibraryAlgorithm> offers{LibraryAlgorithm::kGood};
std::atomic<long long> products = 0;

LibraryAlgorithm kind_of(const cublasLtMatmulAlgo_t& algorithm) { return static_cast<LibraryAlgorithm>(algorithm.data[0]); }

/// What unmask asks for, and nothing else: w transposed, x as it is, float32 results.
bool understood(const cublasLtMatmulDescOpaque_t& operation, const cublasLtMatrixLayoutOpaque_t& a, const cublasLtMatrixLayoutOpaque_t& b,
                const cublasLtMatrixLayoutOpaque_t& d) {
  return operation.transa == CUBLAS_OP_T && operation.transb == CUBLAS_OP_N && a.type == CUDA_R_16BF && b.type == CUDA_R_16BF &&
         d.type == CUDA_R_32F && a.rows == b.rows && a.cols == d.rows && b.cols == d.cols && a.ld >= a.rows && b.ld >= b.rows && d.ld >= d.rows &&
         a.ld % 8 == 0 && b.ld % 8 == 0;
}

struct Product {
  LibraryAlgorithm kind;
  const unmask::bfloat16 *w, *x;
  float* y;
  std::int64_t n, k, rows, w_stride, x_stride, y_stride;
  float beta;
};

void multiply(const Product& p) {
  ++products;
  check_range(p.w, static_cast<std::size_t>((p.n - 1) * p.w_stride + p.k) * 2, "cublasLtMatmul");
  check_range(p.x, static_cast<std::size_t>((p.rows - 1) * p.x_stride + p.k) * 2, "cublasLtMatmul");
  check_range(p.y, static_cast<std::size_t>((p.rows - 1) * p.y_stride + p.n) * 4, "cublasLtMatmul");
  for (std::int64_t r = 0; r < p.rows; ++r) {
    const bool backwards = (p.kind == LibraryAlgorithm::kRowsMatter && p.rows >= 17) || (p.kind == LibraryAlgorithm::kPlaceMatters && r % 2 != 0);
    const std::int64_t count = p.kind == LibraryAlgorithm::kWrong ? p.k - 1 : p.k;
    for (std::int64_t n = 0; n < p.n; ++n) {
      float sum = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t k = backwards ? count - 1 - i : i;
        sum = fmaf(unmask::to_float(p.x[r * p.x_stride + k]), unmask::to_float(p.w[n * p.w_stride + k]), sum);
      }
      float& y = p.y[r * p.y_stride + n];
      y = p.beta != 0 ? sum + p.beta * y : sum;
    }
  }
}

template <class T>
cublasStatus_t give(T value, void* to, std::size_t bytes, std::size_t* written) {
  if (bytes != sizeof value) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  std::memcpy(to, &value, sizeof value);
  *written = sizeof value;
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

void offer_library_algorithms(std::vector<LibraryAlgorithm> algorithms) {
  const std::lock_guard lock(mutex);
  offers = std::move(algorithms);
}
long long num_library_products() { return products; }

}  // namespace simulator

using simulator::LibraryAlgorithm;

const char* cublasLtGetStatusName(cublasStatus_t status) { return status == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : "CUBLAS_STATUS of a failure"; }

#define UNMASK_SIMULATOR_OBJECT(create, destroy, type, parameters, ...)      \
  cublasStatus_t create parameters {                                         \
    *made = new std::remove_pointer_t<type>{__VA_ARGS__};                    \
    return CUBLAS_STATUS_SUCCESS;                                            \
  }                                                                          \
  cublasStatus_t destroy(type object) {                                      \
    delete object;                                                           \
    return CUBLAS_STATUS_SUCCESS;                                            \
  }
UNMASK_SIMULATOR_OBJECT(cublasLtCreate, cublasLtDestroy, cublasLtHandle_t, (cublasLtHandle_t * made))
UNMASK_SIMULATOR_OBJECT(cublasLtMatrixLayoutCreate, cublasLtMatrixLayoutDestroy, cublasLtMatrixLayout_t,
                        (cublasLtMatrixLayout_t * made, cudaDataType type, std::uint64_t rows, std::uint64_t cols, std::int64_t ld), type,
                        static_cast<std::int64_t>(rows), static_cast<std::int64_t>(cols), ld)
UNMASK_SIMULATOR_OBJECT(cublasLtMatmulDescCreate, cublasLtMatmulDescDestroy, cublasLtMatmulDesc_t,
                        (cublasLtMatmulDesc_t * made, cublasComputeType_t, cudaDataType))
UNMASK_SIMULATOR_OBJECT(cublasLtMatmulPreferenceCreate, cublasLtMatmulPreferenceDestroy, cublasLtMatmulPreference_t,
                        (cublasLtMatmulPreference_t * made))
#undef UNMASK_SIMULATOR_OBJECT

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const void* value, std::size_t bytes) {
  if (bytes != sizeof(std::int32_t)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  std::memcpy(attribute == CUBLASLT_MATMUL_DESC_TRANSA ? &operation->transa : &operation->transb, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, std::size_t bytes) {
  const bool is_workspace = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
  if (bytes != (is_workspace ? sizeof(std::uint64_t) : sizeof(std::uint32_t))) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (is_workspace) {
    std::memcpy(&preference->workspace, value, bytes);
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t, int requested,
                                              cublasLtMatmulHeuristicResult_t* results, int* count) {
  if (!simulator::understood(*operation, *a, *b, *d)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const std::lock_guard lock(simulator::mutex);
  *count = 0;
  for (const LibraryAlgorithm kind : simulator::offers) {
    if (*count < requested) {
      results[(*count)++] = {.algo = {{static_cast<std::uint64_t>(kind)}}, .workspaceSize = 0, .state = CUBLAS_STATUS_SUCCESS, .wavesCount = 1, .reserved = {}};
    }
  }
  return *count == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t* algorithm,
                                       cublasLtMatmulHeuristicResult_t* result) {
  const bool refused = simulator::kind_of(*algorithm) == LibraryAlgorithm::kNotForFewRows && b->cols < 8;
  *result = {.algo = *algorithm, .workspaceSize = 0, .state = CUBLAS_STATUS_SUCCESS, .wavesCount = 1, .reserved = {}};
  return refused || !simulator::understood(*operation, *a, *b, *d) ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute, void* value,
                                                    std::size_t bytes, std::size_t* written) {
  const LibraryAlgorithm kind = simulator::kind_of(*algorithm);
  switch (attribute) {
    case CUBLASLT_ALGO_CONFIG_ID:
      return simulator::give(static_cast<std::int32_t>(kind), value, bytes, written);
    case CUBLASLT_ALGO_CONFIG_SPLITK_NUM:
      return simulator::give(std::int32_t{kind == LibraryAlgorithm::kSplitsK ? 4 : 1}, value, bytes, written);
    case CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME:
      return simulator::give(std::uint32_t{kind == LibraryAlgorithm::kReduces ? 1U : 0U}, value, bytes, written);
    case CUBLASLT_ALGO_CONFIG_TILE_ID:
    case CUBLASLT_ALGO_CONFIG_STAGES_ID:
      return simulator::give(std::uint32_t{0}, value, bytes, written);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta, const void*, cublasLtMatrixLayout_t, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algorithm, void*, std::size_t, cudaStream_t stream) {
  float one = 0, kept = 0;
  std::memcpy(&one, alpha, sizeof one);
  std::memcpy(&kept, beta, sizeof kept);
  if (one != 1.0F || !simulator::understood(*operation, *a_layout, *b_layout, *d_layout)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const simulator::Product product{.kind = simulator::kind_of(*algorithm), .w = static_cast<const unmask::bfloat16*>(a),
                                   .x = static_cast<const unmask::bfloat16*>(b), .y = static_cast<float*>(d), .n = d_layout->rows, .k = a_layout->rows,
                                   .rows = d_layout->cols, .w_stride = a_layout->ld, .x_stride = b_layout->ld, .y_stride = d_layout->ld, .beta = kept};
  return simulator::queue(stream, [product] { simulator::multiply(product); }) == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
