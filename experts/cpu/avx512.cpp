// SPDX-License-Identifier: Apache-2.0
// Compiled for AVX-512 F, BW, DQ and VL; every function but the accessor is in an anonymous namespace, so that no
// other file can be linked to code of this instruction set.
#include <immintrin.h>
#include <algorithm>

#include "experts/cpu/families.h"

namespace unmask::experts::cpu {
namespace {

#include "experts/cpu/avx512_all.inc.h"

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

}  // namespace

const KernelFamily& avx512_family() {
  static const KernelFamily family = {
      .name = "avx512", .needs = "AVX-512 F, BW, DQ and VL", .supported = supported, .panels = nullptr, .gemm = gemm, .rms_norm = rms_norm,
      .prepare_head = prepare_head, .attend = attend, .attention_workspace = nullptr, .silu_multiply = silu_multiply, .softmax = softmax, .add_weighted = add_weighted,
      .summarise = summarise, .exponential = exponential_of};
  return family;
}

}  // namespace unmask::experts::cpu
