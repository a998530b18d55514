// SPDX-License-Identifier: Apache-2.0
// cuBLASLt's functions as this program calls them: forwarded to a library that is loaded with the first call, all of them found
// then. Linked, it would cost every run on processors some 100 MB and a tenth of a second.
#include <cublasLt.h>

#include "base/late_library.h"

namespace {

struct Functions {
  unmask::LateLibrary library{UNMASK_CUBLASLT_NAME, UNMASK_CUBLASLT_FILE};
#define UNMASK_LATE(name) decltype(&::name) name = library.find<decltype(&::name)>(#name)
  UNMASK_LATE(cublasLtCreate);
  UNMASK_LATE(cublasLtDestroy);
  UNMASK_LATE(cublasLtGetStatusName);
  UNMASK_LATE(cublasLtMatmul);
  UNMASK_LATE(cublasLtMatmulAlgoCheck);
  UNMASK_LATE(cublasLtMatmulAlgoConfigGetAttribute);
  UNMASK_LATE(cublasLtMatmulAlgoGetHeuristic);
  UNMASK_LATE(cublasLtMatmulDescCreate);
  UNMASK_LATE(cublasLtMatmulDescDestroy);
  UNMASK_LATE(cublasLtMatmulDescSetAttribute);
  UNMASK_LATE(cublasLtMatmulPreferenceCreate);
  UNMASK_LATE(cublasLtMatmulPreferenceDestroy);
  UNMASK_LATE(cublasLtMatmulPreferenceSetAttribute);
  UNMASK_LATE(cublasLtMatrixLayoutCreate);
  UNMASK_LATE(cublasLtMatrixLayoutDestroy);
#undef UNMASK_LATE
};

const Functions& functions() {
  static const Functions found;
  return found;
}

}  // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { return functions().cublasLtCreate(handle); }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return functions().cublasLtDestroy(handle); }
const char* cublasLtGetStatusName(cublasStatus_t status) { return functions().cublasLtGetStatusName(status); }
cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  return functions().cublasLtMatmul(handle, operation, alpha, a, a_layout, b, b_layout, beta, c, c_layout, d, d_layout, algorithm, workspace,
                                    workspace_bytes, stream);
}
cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t* algorithm,
                                       cublasLtMatmulHeuristicResult_t* result) {
  return functions().cublasLtMatmulAlgoCheck(handle, operation, a, b, c, d, algorithm, result);
}
cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute, void* to,
                                                    size_t bytes, size_t* written) {
  return functions().cublasLtMatmulAlgoConfigGetAttribute(algorithm, attribute, to, bytes, written);
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int* returned) {
  return functions().cublasLtMatmulAlgoGetHeuristic(handle, operation, a, b, c, d, preference, requested, results, returned);
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, cublasComputeType_t compute, cudaDataType_t scale) {
  return functions().cublasLtMatmulDescCreate(operation, compute, scale);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) { return functions().cublasLtMatmulDescDestroy(operation); }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation, cublasLtMatmulDescAttributes_t attribute, const void* from, size_t bytes) {
  return functions().cublasLtMatmulDescSetAttribute(operation, attribute, from, bytes);
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) { return functions().cublasLtMatmulPreferenceCreate(preference); }
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) { return functions().cublasLtMatmulPreferenceDestroy(preference); }
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* from, size_t bytes) {
  return functions().cublasLtMatmulPreferenceSetAttribute(preference, attribute, from, bytes);
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows, uint64_t cols, int64_t stride) {
  return functions().cublasLtMatrixLayoutCreate(layout, type, rows, cols, stride);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { return functions().cublasLtMatrixLayoutDestroy(layout); }
