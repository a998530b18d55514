// SPDX-License-Identifier: Apache-2.0
// Compiled for nothing beyond the base instruction set; every function but the accessor is in an anonymous namespace, so that no
// other file can be linked to code of this instruction set.
#include <algorithm>

#include "experts/cpu/families.h"

namespace unmask::experts::cpu {
namespace {

constexpr int kNativeBytes = 16;  // one vector register
using Native = float __attribute__((vector_size(kNativeBytes)));
inline Native native_madd(Native a, Native b, Native c) { return a * b + c; }
inline float native_sum(Native v) { return (v[0] + v[2]) + (v[1] + v[3]); }
using NativeInt = std::int32_t __attribute__((vector_size(kNativeBytes)));
/// The bits of so many bfloat16 values as integers.
inline NativeInt native_widen(const bfloat16* x) {
  std::uint16_t __attribute__((vector_size(kNativeBytes / 2))) half;
  __builtin_memcpy(&half, x, sizeof half);
  return __builtin_convertvector(half, NativeInt);
}
constexpr std::int64_t kGemmRows = 2;  // register tile of the matrix product: rows x outputs
constexpr std::int64_t kGemmOutputs = 1;

#include "experts/cpu/vec.inc.h"
#include "experts/cpu/gemm.inc.h"
#include "experts/cpu/elementwise.inc.h"
#include "experts/cpu/heads.inc.h"
#include "experts/cpu/attention.inc.h"
#include "experts/cpu/head.inc.h"

bool supported() {
  return true;
}

}  // namespace

const KernelFamily& portable_family() {
  static const KernelFamily family = {
      .name = "portable", .needs = "nothing beyond the base instruction set", .supported = supported, .panels = nullptr, .gemm = gemm, .rms_norm = rms_norm,
      .prepare_head = prepare_head, .attend = attend, .attention_workspace = nullptr, .silu_multiply = silu_multiply, .softmax = softmax, .add_weighted = add_weighted,
      .summarise = summarise, .exponential = exponential_of};
  return family;
}

}  // namespace unmask::experts::cpu
