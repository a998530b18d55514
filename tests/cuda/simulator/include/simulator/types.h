// SPDX-License-Identifier: Apache-2.0
// CUDA's qualifiers and vector types, for the host's compiler.
#pragma once

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(bytes) alignas(bytes)
#define __constant__ static const
#define __launch_bounds__(...)
#define __shared__ static thread_local  // blocks of a host's thread run one after the other
#define __grid_constant__

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz) {}
};

#define UNMASK_SIMULATOR_VECTORS(value, name)                                                                    \
  struct alignas(2 * sizeof(value)) name##2 { value x, y; };                                                     \
  struct name##3 { value x, y, z; };                                                                             \
  struct alignas(sizeof(value) < 8 ? 4 * sizeof(value) : 16) name##4 { value x, y, z, w; };                      \
  inline name##2 make_##name##2(value x, value y) { return {x, y}; }                                             \
  inline name##3 make_##name##3(value x, value y, value z) { return {x, y, z}; }                                 \
  inline name##4 make_##name##4(value x, value y, value z, value w) { return {x, y, z, w}; }
UNMASK_SIMULATOR_VECTORS(float, float)
UNMASK_SIMULATOR_VECTORS(double, double)
UNMASK_SIMULATOR_VECTORS(int, int)
UNMASK_SIMULATOR_VECTORS(unsigned, uint)
UNMASK_SIMULATOR_VECTORS(short, short)
UNMASK_SIMULATOR_VECTORS(unsigned short, ushort)
UNMASK_SIMULATOR_VECTORS(signed char, char)
UNMASK_SIMULATOR_VECTORS(unsigned char, uchar)
UNMASK_SIMULATOR_VECTORS(long long, longlong)
UNMASK_SIMULATOR_VECTORS(unsigned long long, ulonglong)
#undef UNMASK_SIMULATOR_VECTORS

inline constinit thread_local uint3 threadIdx{};
inline constinit thread_local uint3 blockIdx{};
inline constinit thread_local dim3 blockDim{};
inline constinit thread_local dim3 gridDim{};
inline constexpr int warpSize = 32;
