// SPDX-License-Identifier: Apache-2.0
// The instructions that C++ has no words for: the only place with PTX (ISA 7.0, compute capability 8.0 and newer), which tests
// replace (tests/cuda/simulator). All of a warp's threads take part in ldmatrix and mma.
#pragma once

#include <cstdint>

#include "base/bfloat16.h"

namespace unmask::experts::cuda {

inline constexpr unsigned kWarp = 32;

__device__ inline float widen(bfloat16 x) { return __uint_as_float(static_cast<std::uint32_t>(x.bits) << 16); }

/// Rounded to nearest, ties to even, low in the low half: two neighbours in memory.
__device__ inline std::uint32_t narrow_pair(float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

__device__ inline bfloat16 narrow(float x) { return {static_cast<std::uint16_t>(narrow_pair(x, 0.0F))}; }

/// 2^x and 1 / x to some two units in the last place: for values that are rounded to bfloat16 afterwards.
__device__ inline float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ inline float fast_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

enum class Fill { kCopy, kZero };

/// Begins to copy 16 bytes, aligned, from global to shared memory, past the first-level cache; kZero: writes zeros and reads nothing.
__device__ inline void copy_16(void* shared, const void* global, Fill fill) {
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  const int bytes = fill == Fill::kCopy ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(__cvta_generic_to_global(global)), "r"(bytes) : "memory");
}

/// The thread's copies so far become a group; waits until all but its `pending` latest groups are there (for this thread:
/// others see them behind a barrier).
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int pending>
__device__ inline void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

/// Four 8 x 8 matrices of bfloat16: thread t names row t % 8 of matrix t / 8 (16 bytes of shared memory); of each it gets the values
/// 2 (t % 4) and the next of row t / 4, or of column t / 4 in the transposed kind.
__device__ inline void load_matrices(std::uint32_t (&m)[4], const void* row) {
  const auto from = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(from)
               : "memory");
}
__device__ inline void load_matrices_transposed(std::uint32_t (&m)[4], const void* row) {
  const auto from = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(from)
               : "memory");
}

/// d [16, 8] += a [16, 16] b [16, 8], float32 sums. Of d, thread t has rows t / 4 and t / 4 + 8, columns 2 (t % 4) and the next; of a,
/// the matrices (rows 0-7, 8-15) x (columns 0-7, then 8-15); of b, k 2 (t % 4) and the next of column t / 4, then those 8 further.
__device__ inline void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace unmask::experts::cuda
