// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by amx.cpp, avx512bf16.cpp and avx512.cpp: all kernels in vectors of 512 bits.

constexpr int kNativeBytes = 64;  // one vector register
using Native = float __attribute__((vector_size(kNativeBytes)));
inline Native native_madd(Native a, Native b, Native c) { return _mm512_fmadd_ps(a, b, c); }
constexpr std::int64_t kGemmRows = 4;  // register tile of the matrix product: rows x outputs
constexpr std::int64_t kGemmOutputs = 4;

#include "experts/cpu/vec.inc.h"
#include "experts/cpu/gemm.inc.h"
#include "experts/cpu/elementwise.inc.h"
#include "experts/cpu/attention.inc.h"
#include "experts/cpu/head.inc.h"
