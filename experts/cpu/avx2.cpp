// SPDX-License-Identifier: Apache-2.0
// Compiled for AVX2 and FMA; every function but the accessor is in an anonymous namespace, so that no
// other file can be linked to code of this instruction set.
#include <immintrin.h>
#include <algorithm>
#include <utility>

#include "experts/cpu/families.h"
#include "experts/quantised.h"

namespace unmask::experts::cpu {
namespace {

constexpr int kNativeBytes = 32;  // one vector register
using Native = float __attribute__((vector_size(kNativeBytes)));
inline Native native_madd(Native a, Native b, Native c) { return _mm256_fmadd_ps(a, b, c); }
inline float native_sum(Native v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
using NativeInt = std::int32_t __attribute__((vector_size(kNativeBytes)));
/// The bits of eight bfloat16 values as integers: one instruction, which GCC 12 does not find.
inline NativeInt native_widen(const bfloat16* x) {
  return reinterpret_cast<NativeInt>(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
}
constexpr std::int64_t kGemmRows = 2;  // register tile of the matrix product: rows x outputs
constexpr std::int64_t kGemmOutputs = 2;

#include "experts/cpu/vec.inc.h"
#include "experts/cpu/gemm.inc.h"
#include "experts/cpu/elementwise.inc.h"
#include "experts/cpu/heads.inc.h"
#include "experts/cpu/head.inc.h"
#include "experts/cpu/avx2_block.inc.h"
#include "experts/cpu/block.inc.h"
#include "experts/cpu/float_panels.inc.h"
#include "experts/cpu/block_walk.inc.h"
#include "experts/cpu/block_products.inc.h"
#include "experts/cpu/block_quantised.inc.h"
#include "experts/cpu/block_attention.inc.h"

bool supported() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

}  // namespace

const KernelFamily& avx2_family() {
  static const PanelKernels panels = {.value_bytes = sizeof(float), .tile_rows = tile_rows, .gemm = panel_gemm, .gate_up = panel_gate_up,
                                      .add_down = panel_add_down, .gate_up_quantised = quantised_gate_up, .add_down_quantised = quantised_add_down};
  static const KernelFamily family = {
      .name = "avx2", .needs = "AVX2 and FMA", .supported = supported, .panels = &panels, .gemm = gemm, .rms_norm = rms_norm,
      .prepare_head = prepare_head, .attend = attend_blocks, .attention_workspace = attention_workspace, .silu_multiply = silu_multiply, .softmax = softmax, .add_weighted = add_weighted,
      .summarise = summarise, .exponential = exponential_of};
  return family;
}

}  // namespace unmask::experts::cpu
