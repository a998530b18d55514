// SPDX-License-Identifier: Apache-2.0
// AMX for large products of bfloat16, AVX-512 for all else; every function but the accessor is in an anonymous namespace,
// so that no other file can be linked to code of this instruction set.
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "experts/cpu/families.h"
#include "experts/quantised.h"

namespace unmask::experts::cpu {
namespace {

#include "experts/cpu/avx512_all.inc.h"
#include "experts/cpu/attention.inc.h"
#include "experts/cpu/amx_tiles.inc.h"
#include "experts/cpu/amx_walk.inc.h"
#include "experts/cpu/amx_products.inc.h"
#include "experts/cpu/amx_quantised.inc.h"
#include "experts/cpu/amx_quantised_walk.inc.h"
#include "experts/cpu/amx_attention_pack.inc.h"
#include "experts/cpu/amx_attention.inc.h"

bool has_amx_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kAmxBf16 = 1U << 22, kAmxTile = 1U << 24, kAvx512Bf16 = 1U << 5;
  const bool amx = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kAmxBf16) != 0 && (d & kAmxTile) != 0;
  return amx && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvx512Bf16) != 0;
}

/// Tile registers are large: Linux saves them only for processes that asked. One thread asks for all.
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool supported() {
  static const bool answer = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && has_amx_bf16() &&
                             may_use_tiles();
  return answer;
}

}  // namespace

const KernelFamily& amx_family() {
  static const PanelKernels panels = {.value_bytes = sizeof(bfloat16), .tile_rows = tile_rows, .gemm = panel_gemm, .gate_up = panel_gate_up, .add_down = panel_add_down,
                                      .gate_up_quantised = quantised_gate_up, .add_down_quantised = quantised_add_down, .rounds_weights = true};
  static const KernelFamily family = {
      .name = "amx", .needs = "AMX-BF16, AVX-512 F, BW, DQ, VL and BF16, and the system's leave to use tiles",
      .supported = supported, .panels = &panels, .gemm = gemm, .rms_norm = rms_norm,
      .prepare_head = prepare_head, .attend = attend_tiles, .attention_workspace = attention_workspace, .silu_multiply = silu_multiply, .softmax = softmax, .add_weighted = add_weighted,
      .summarise = summarise, .exponential = exponential_of, .inputs = Precision::kBfloat16};
  return family;
}

}  // namespace unmask::experts::cpu
