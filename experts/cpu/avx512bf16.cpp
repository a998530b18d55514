// SPDX-License-Identifier: Apache-2.0
// Compiled for AVX-512 F, BW, DQ, VL and BF16; every function but the accessor is in an anonymous namespace, so that no
// other file can be linked to code of this instruction set.
#include <cpuid.h>
#include <immintrin.h>

#include <algorithm>

#include "experts/cpu/families.h"

namespace unmask::experts::cpu {
namespace {

#include "experts/cpu/avx512_all.inc.h"
#include "experts/cpu/dot.inc.h"

bool has_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & 1U << 5) != 0;
}

bool supported() {
  return has_bf16() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

}  // namespace

const KernelFamily& avx512bf16_family() {
  static const KernelFamily family = {
      .name = "avx512bf16", .needs = "AVX-512 F, BW, DQ, VL and BF16", .supported = supported, .panels = nullptr, .gemm = gemm_dot, .rms_norm = rms_norm,
      .prepare_head = prepare_head, .attend = attend, .attention_workspace = nullptr, .silu_multiply = silu_multiply, .softmax = softmax, .add_weighted = add_weighted,
      .summarise = summarise, .exponential = exponential_of, .inputs = Precision::kBfloat16};
  return family;
}

}  // namespace unmask::experts::cpu
