// SPDX-License-Identifier: Apache-2.0
// Compiled for AVX-512 F, BW, DQ, VL and BF16; every function but the accessor is in an anonymous namespace, so that no
// other file can be linked to code of this instruction set.
#include <cpuid.h>
#include <immintrin.h>

#include <algorithm>
#include <utility>

#include "experts/cpu/families.h"
#include "experts/quantised.h"

namespace unmask::experts::cpu {
namespace {

#include "experts/cpu/avx512_all.inc.h"
#include "experts/cpu/avx512_block.inc.h"
#include "experts/cpu/block.inc.h"
#include "experts/cpu/avx512_pairs.inc.h"
#include "experts/cpu/block_walk.inc.h"
#include "experts/cpu/block_products.inc.h"
#include "experts/cpu/block_quantised.inc.h"
#include "experts/cpu/block_attention.inc.h"

bool has_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & 1U << 5) != 0;
}

bool supported() {
  return has_bf16() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

/// Intel's processors need two cycles for an instruction of 32 products, in which they do four of 16 in floats (measured on Emerald
/// Rapids). Others have not been measured; the instruction is made for more products than those of floats.
bool slow_here() { return __builtin_cpu_is("intel"); }

}  // namespace

const KernelFamily& avx512bf16_family() {
  static const PanelKernels panels = {.value_bytes = sizeof(Value), .tile_rows = tile_rows, .gemm = panel_gemm, .gate_up = panel_gate_up,
                                      .add_down = panel_add_down, .gate_up_quantised = quantised_gate_up, .add_down_quantised = quantised_add_down};
  static const KernelFamily family = {
      .name = "avx512bf16", .needs = "AVX-512 F, BW, DQ, VL and BF16", .supported = supported, .panels = &panels, .gemm = gemm, .rms_norm = rms_norm,
      .prepare_head = prepare_head, .attend = attend_blocks, .attention_workspace = attention_workspace, .silu_multiply = silu_multiply, .softmax = softmax, .add_weighted = add_weighted,
      .summarise = summarise, .exponential = exponential_of, .inputs = Precision::kBfloat16, .slow_here = slow_here};
  return family;
}

}  // namespace unmask::experts::cpu
