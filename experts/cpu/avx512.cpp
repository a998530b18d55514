// SPDX-License-Identifier: Apache-2.0
// Compiled for AVX-512 F, BW, DQ and VL; every function but the accessor is in an anonymous namespace, so that no
// other file can be linked to code of this instruction set.
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
#include "experts/cpu/float_panels.inc.h"
#include "experts/cpu/block_walk.inc.h"
#include "experts/cpu/block_products.inc.h"
#include "experts/cpu/block_quantised.inc.h"
#include "experts/cpu/block_attention.inc.h"

bool supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

}  // namespace

const KernelFamily& avx512_family() {
  static const PanelKernels panels = {.value_bytes = sizeof(Value), .tile_rows = tile_rows, .gemm = panel_gemm, .gate_up = panel_gate_up,
                                      .add_down = panel_add_down, .gate_up_quantised = quantised_gate_up, .add_down_quantised = quantised_add_down};
  static const KernelFamily family = {
      .name = "avx512", .needs = "AVX-512 F, BW, DQ and VL", .supported = supported, .panels = &panels, .gemm = gemm, .rms_norm = rms_norm,
      .prepare_head = prepare_head, .attend = attend_blocks, .attention_workspace = attention_workspace, .silu_multiply = silu_multiply, .softmax = softmax, .add_weighted = add_weighted,
      .summarise = summarise, .exponential = exponential_of};
  return family;
}

}  // namespace unmask::experts::cpu
