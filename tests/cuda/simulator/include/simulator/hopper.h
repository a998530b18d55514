// SPDX-License-Identifier: Apache-2.0
// What only compute capability 9.0 has: barriers that count bytes, copies of boxes, products of warp groups. Copies and products happen as
// late as they may: copies when all threads wait, products when somebody waits for their group.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>

#include <cuda.h>

namespace simulator {

/// The running block's dynamic shared memory does not begin at a multiple of 1024.
inline constexpr std::uint32_t kSharedBase = 0x480;
std::uint32_t shared_address(const void* memory);

/// The running block has ended; false where it left copies or products that nobody waited for.
bool end_block();

void init_barrier(const void* barrier, unsigned arrivals);
/// bytes: expected further ones.
void arrive(const void* barrier, unsigned bytes);
void wait_phase(const void* barrier, unsigned parity, const std::source_location& where);

void copy_box(void* to, const CUtensorMap& map, const std::int32_t* at, const void* barrier);

/// cp.async wrote 16 bytes of shared memory: products may read them behind a fence of this thread.
void wrote(const void* memory);
void fence_async();

/// Each lane's own: d [64, n] as the lane holds it.
void begin_products(const std::source_location& where);
void multiply_group(float* d, int n, std::uint64_t a, std::uint64_t b, const std::source_location& where);
void commit_products(const std::source_location& where);
void wait_products(std::size_t pending, const std::source_location& where);

}  // namespace simulator
