// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by amx.cpp, avx512bf16.cpp and avx512.cpp: all kernels in vectors of 512 bits.

constexpr int kNativeBytes = 64;  // one vector register
using Native = float __attribute__((vector_size(kNativeBytes)));
inline Native native_madd(Native a, Native b, Native c) { return _mm512_fmadd_ps(a, b, c); }
inline float native_sum(Native v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
using NativeInt = std::int32_t __attribute__((vector_size(kNativeBytes)));
/// The bits of so many bfloat16 values as integers.
inline NativeInt native_widen(const bfloat16* x) {
  std::uint16_t __attribute__((vector_size(kNativeBytes / 2))) half;
  __builtin_memcpy(&half, x, sizeof half);
  return __builtin_convertvector(half, NativeInt);
}
constexpr std::int64_t kGemmRows = 4;  // register tile of the matrix product: rows x outputs
constexpr std::int64_t kGemmOutputs = 4;

#include "experts/cpu/vec.inc.h"
#include "experts/cpu/gemm.inc.h"
#include "experts/cpu/elementwise.inc.h"
#include "experts/cpu/heads.inc.h"
#include "experts/cpu/head.inc.h"
