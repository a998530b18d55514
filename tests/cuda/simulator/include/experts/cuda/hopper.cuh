// SPDX-License-Identifier: Apache-2.0
// Stands in front of experts/cuda/hopper.cuh where kernels run on the simulator.
#pragma once

#include <cstdint>
#include <source_location>

#include <cuda.h>

#include "base/bfloat16.h"
#include "simulator/hopper.h"

namespace unmask::experts::cuda {

#define UNMASK_HERE const std::source_location& where = std::source_location::current()

inline std::uint32_t shared_address(const void* memory) { return simulator::shared_address(memory); }

struct Barrier {
  std::uint64_t bits;
};
inline void init_barrier(Barrier* barrier, unsigned arrivals) { simulator::init_barrier(barrier, arrivals); }
inline void publish_barriers() {}
inline void arrive(Barrier* barrier) { simulator::arrive(barrier, 0); }
inline void arrive_for_bytes(Barrier* barrier, unsigned bytes) { simulator::arrive(barrier, bytes); }
inline void wait_phase(Barrier* barrier, unsigned parity, UNMASK_HERE) { simulator::wait_phase(barrier, parity, where); }
inline void fence_async() { simulator::fence_async(); }

struct Box {
  std::int32_t at[5];
};
inline void copy_box(void* to, const CUtensorMap& map, const Box& box, Barrier* barrier) { simulator::copy_box(to, map, box.at, barrier); }

inline std::uint64_t describe_rows(const void* rows, int k) {
  const std::uint64_t address = (shared_address(rows) + static_cast<std::uint32_t>(k) * sizeof(bfloat16)) >> 4U;
  return (address & 0x3FFFU) | std::uint64_t{1} << 16U | std::uint64_t{1024 >> 4} << 32U | std::uint64_t{1} << 62U;
}
inline void begin_products(UNMASK_HERE) { simulator::begin_products(where); }
inline void commit_products(UNMASK_HERE) { simulator::commit_products(where); }
template <int pending>
void wait_products(UNMASK_HERE) {
  simulator::wait_products(pending, where);
}
inline void multiply_group(float (&d)[32], std::uint64_t a, std::uint64_t b, UNMASK_HERE) { simulator::multiply_group(d, 64, a, b, where); }
inline void multiply_group(float (&d)[128], std::uint64_t a, std::uint64_t b, UNMASK_HERE) { simulator::multiply_group(d, 256, a, b, where); }

#undef UNMASK_HERE

}  // namespace unmask::experts::cuda
