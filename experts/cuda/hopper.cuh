// SPDX-License-Identifier: Apache-2.0
// Instructions of compute capability 9.0 alone (PTX ISA 8.0, sm_90a), which tests replace (tests/cuda/simulator): barriers in shared
// memory that count arrivals and bytes, copies of boxes of a tensor (TMA), products of four warps that read shared memory (wgmma).
// Elsewhere they trap; nobody launches them there. As PTX has it, the last two go by another way to memory (the async proxy) than
// loads, stores and cp.async: what those wrote they see behind fence_async() of the thread that wrote it.
#pragma once

#include <cstdint>

#include <cuda.h>

#include "base/bfloat16.h"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define UNMASK_HAS_WGMMA 1
#endif

namespace unmask::experts::cuda {

__device__ inline std::uint32_t shared_address(const void* memory) { return static_cast<std::uint32_t>(__cvta_generic_to_shared(memory)); }

/// In shared memory. A phase ends when all expected arrivals and bytes have come; phases are told apart by their parity, from 0.
struct Barrier {
  std::uint64_t bits;
};

#if defined(UNMASK_HAS_WGMMA)
#define UNMASK_HOPPER(...) __VA_ARGS__
#else
#define UNMASK_HOPPER(...) __trap()
#endif

__device__ inline void init_barrier([[maybe_unused]] Barrier* barrier, [[maybe_unused]] unsigned arrivals) {
  UNMASK_HOPPER(asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory"));
}
/// Behind init_barrier(), before the block meets: copies see the barriers.
__device__ inline void publish_barriers() {
  UNMASK_HOPPER(asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;" ::: "memory"));
}
__device__ inline void arrive([[maybe_unused]] Barrier* barrier) {
  UNMASK_HOPPER(asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory"));
}
/// Arrives, and the phase also waits for so many bytes of copies.
__device__ inline void arrive_for_bytes([[maybe_unused]] Barrier* barrier, [[maybe_unused]] unsigned bytes) {
  UNMASK_HOPPER(asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes) : "memory"));
}
/// Until the phase of this parity has ended.
__device__ inline void wait_phase([[maybe_unused]] Barrier* barrier, [[maybe_unused]] unsigned parity) {
#if defined(UNMASK_HAS_WGMMA)
  std::uint32_t done = 0;
  while (done == 0) {
    asm volatile("{\n.reg .pred done;\nmbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\nselp.b32 %0, 1, 0, done;\n}\n"
                 : "=r"(done)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
  }
#else
  __trap();
#endif
}

__device__ inline void fence_async() { UNMASK_HOPPER(asm volatile("fence.proxy.async.shared::cta;" ::: "memory")); }

/// Begins to copy a box of a tensor, whose first element has these coordinates, to shared memory; its bytes count for the barrier. What
/// lies outside of the tensor is zeros, and counts.
struct Box {
  std::int32_t at[5];  ///< the innermost first; 0 where the tensor has fewer dimensions
};
__device__ inline void copy_box([[maybe_unused]] void* to, [[maybe_unused]] const CUtensorMap& map, [[maybe_unused]] const Box& box,
                                [[maybe_unused]] Barrier* barrier) {
  UNMASK_HOPPER(asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5, %6}], [%7];" ::"r"(
          shared_address(to)),
      "l"(&map), "r"(box.at[0]), "r"(box.at[1]), "r"(box.at[2]), "r"(box.at[3]), "r"(box.at[4]), "r"(shared_address(barrier))
      : "memory"));
}

/// Rows of 64 values of bfloat16 (128 bytes) from an address that is a multiple of 1024 on, pieces of 16 bytes exchanged as the 128-byte
/// swizzle does: piece p of row r is at p ^ (r % 8). The operand is 16 values of k of all rows, from value `k` on.
/// Bits 0-13: address, 16-29: not used with this swizzle (1), 32-45: from 8 rows to the next 8, all in units of 16 bytes; 62-63: 1.
__device__ inline std::uint64_t describe_rows(const void* rows, int k) {
  const std::uint64_t address = (shared_address(rows) + static_cast<std::uint32_t>(k) * sizeof(bfloat16)) >> 4U;
  return (address & 0x3FFFU) | std::uint64_t{1} << 16U | std::uint64_t{1024 >> 4} << 32U | std::uint64_t{1} << 62U;
}

/// In front of a warp group's products: they see its registers. Behind them: they become a group; wait_products<n>(): until all but
/// its n latest groups are done, and with them what they read and wrote is free.
__device__ inline void begin_products() { UNMASK_HOPPER(asm volatile("wgmma.fence.sync.aligned;" ::: "memory")); }
__device__ inline void commit_products() { UNMASK_HOPPER(asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory")); }
template <int pending>
__device__ inline void wait_products() {
  UNMASK_HOPPER(asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory"));
}

/// d [64, 64] += a [64, 16] b [64, 16]^T, both K-major in shared memory as described. Of d, thread t of warp w has rows 16 w + t / 4 (values
/// 4 i and the next) and those 8 further (4 i + 2 and the next) of columns 8 i + 2 (t % 4) and the next.
__device__ inline void multiply_group(float (&d)[32], std::uint64_t a, std::uint64_t b) {
#if defined(UNMASK_HAS_WGMMA)
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, %32, %33, add, 1, 1, 0, 0;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
      : "l"(a), "l"(b), "r"(1));
#else
  static_cast<void>(d), static_cast<void>(a), static_cast<void>(b);
  __trap();
#endif
}
/// d [64, 256] += a [64, 16] b [256, 16]^T, both K-major in shared memory as described. Of d, thread t of warp w has rows 16 w + t / 4 (values
/// 4 i and the next) and those 8 further (4 i + 2 and the next) of columns 8 i + 2 (t % 4) and the next.
__device__ inline void multiply_group(float (&d)[128], std::uint64_t a, std::uint64_t b) {
#if defined(UNMASK_HAS_WGMMA)
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
      "}, %128, %129, add, 1, 1, 0, 0;\n}\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
        "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
        "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
        "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
        "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
        "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
        "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
        "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
        "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]),
        "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),
        "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]),
        "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]),
        "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]),
        "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]),
        "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]),
        "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
      : "l"(a), "l"(b), "r"(1));
#else
  static_cast<void>(d), static_cast<void>(a), static_cast<void>(b);
  __trap();
#endif
}

#undef UNMASK_HOPPER

}  // namespace unmask::experts::cuda
