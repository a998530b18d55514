// SPDX-License-Identifier: Apache-2.0
#include "experts/cuda/library_product.h"

#include <array>
#include <span>

#include "base/error.h"

namespace unmask::experts::cuda {
namespace {

constexpr int kMostOffered = 32;
constexpr std::uint32_t kAlignment = 16;  // of x, w and y, in bytes

template <class T>
T configured(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute) {
  T value{};
  std::size_t written = 0;
  check_library(cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof value, &written), "cublasLtMatmulAlgoConfigGetAttribute");
  return value;
}

LibraryLayout layout(cudaDataType type, std::int64_t rows, std::int64_t cols, std::int64_t stride) {
  cublasLtMatrixLayout_t made = nullptr;
  check_library(cublasLtMatrixLayoutCreate(&made, type, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(cols), stride),
                "cublasLtMatrixLayoutCreate");
  return LibraryLayout(made);
}

using LibraryPreference = UniqueHandle<LibraryTraits<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>>;

template <class T>
void prefer(const LibraryPreference& preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  check_library(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value), "cublasLtMatmulPreferenceSetAttribute");
}

LibraryPreference make_preference(std::uint64_t workspace_bytes) {
  cublasLtMatmulPreference_t made = nullptr;
  check_library(cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate");
  LibraryPreference preference(made);
  prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
  prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE));
  for (const auto attribute : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                               CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    prefer(preference, attribute, kAlignment);
  }
  return preference;
}

/// Why a row's sum might hang on the number of rows.
std::string objection(const cublasLtMatmulAlgo_t& algorithm) {
  const auto splits = configured<std::int32_t>(algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM);
  const auto reduction = configured<std::uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
  if (splits > 1 || splits < 0) {
    return format("splits k into {} parts", splits);
  }
  return reduction == CUBLASLT_REDUCTION_SCHEME_NONE ? std::string() : format("adds up by reduction scheme {}", reduction);
}

}  // namespace

void check_library(cublasStatus_t status, std::string_view call) {
  if (status != CUBLAS_STATUS_SUCCESS) {
    fail(status == CUBLAS_STATUS_ALLOC_FAILED ? ExitCode::kBadInput : ExitCode::kPeerLost, "{} returned {} ({})", call,
         cublasLtGetStatusName(status), static_cast<int>(status));
  }
}

LibraryHandle make_library_handle() {
  cublasLtHandle_t made = nullptr;
  check_library(cublasLtCreate(&made), "cublasLtCreate");
  return LibraryHandle(made);
}

LibraryProduct::LibraryProduct(const ProductShape& shape) : shape_(shape) {
  cublasLtMatmulDesc_t made = nullptr;
  check_library(cublasLtMatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  operation_ = LibraryOperation(made);
  const auto transposed = static_cast<std::int32_t>(CUBLAS_OP_T);
  check_library(cublasLtMatmulDescSetAttribute(made, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed), "cublasLtMatmulDescSetAttribute");
}

LibraryProduct::Layouts LibraryProduct::layouts(std::int64_t rows) const {
  return {.w = layout(CUDA_R_16BF, shape_.k, shape_.n, shape_.k), .x = layout(CUDA_R_16BF, shape_.k, rows, shape_.k),
          .y = layout(CUDA_R_32F, shape_.n, rows, shape_.y_stride)};
}

std::vector<OfferedAlgorithm> LibraryProduct::offered(cublasLtHandle_t handle, std::int64_t rows, std::uint64_t workspace_bytes) const {
  const Layouts at = layouts(rows);
  const LibraryPreference preference = make_preference(workspace_bytes);
  std::array<cublasLtMatmulHeuristicResult_t, kMostOffered> results{};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, operation_.get(), at.w.get(), at.x.get(), at.y.get(), at.y.get(),
                                                               preference.get(), kMostOffered, results.data(), &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) {
    return {};
  }
  check_library(status, "cublasLtMatmulAlgoGetHeuristic");
  std::vector<OfferedAlgorithm> offers;
  for (const auto& result : std::span(results).first(static_cast<std::size_t>(count))) {
    if (result.state == CUBLAS_STATUS_SUCCESS) {
      offers.push_back({result.algo, objection(result.algo)});
    }
  }
  return offers;
}

bool LibraryProduct::serves(cublasLtHandle_t handle, const cublasLtMatmulAlgo_t& algorithm, std::int64_t rows, std::uint64_t workspace_bytes) const {
  const Layouts at = layouts(rows);
  cublasLtMatmulHeuristicResult_t result{};
  return cublasLtMatmulAlgoCheck(handle, operation_.get(), at.w.get(), at.x.get(), at.y.get(), at.y.get(), &algorithm, &result) ==
             CUBLAS_STATUS_SUCCESS &&
         result.workspaceSize <= workspace_bytes;
}

void LibraryProduct::run(cublasLtHandle_t handle, const cublasLtMatmulAlgo_t& algorithm, const Run& run, cudaStream_t stream) const {
  const Layouts at = layouts(run.rows);
  const float one = 1.0F;
  const float kept = shape_.store == DenseProblem::Store::kAdd ? 1.0F : 0.0F;
  check_library(cublasLtMatmul(handle, operation_.get(), &one, run.w, at.w.get(), run.x, at.x.get(), &kept, run.y, at.y.get(), run.y, at.y.get(),
                               &algorithm, run.workspace, run.workspace_bytes, stream),
                "cublasLtMatmul");
}

std::string describe(const cublasLtMatmulAlgo_t& algorithm) {
  return format("algorithm {}, tile {}, stages {}", configured<std::int32_t>(algorithm, CUBLASLT_ALGO_CONFIG_ID),
                configured<std::uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_TILE_ID), configured<std::uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_STAGES_ID));
}

}  // namespace unmask::experts::cuda
