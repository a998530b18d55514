// SPDX-License-Identifier: Apache-2.0
// CUDA's functions for device code. Those that a warp or a block does together are meeting points of fibers.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include <math.h>

#include "simulator/block.h"
#include "simulator/types.h"

namespace simulator {

/// One value per lane, and the lane whose value it asks for (or, for votes, nothing).
struct Lane {
  std::uint64_t value;
  int from;
};

inline void shuffle(Lane* const* lanes, unsigned mask) {
  std::uint64_t values[32] = {};
  for (int i = 0; i < 32; ++i) {
    values[i] = (mask >> i & 1U) != 0 ? lanes[i]->value : ~std::uint64_t{0};  // of a lane outside the mask: undefined
  }
  for (int i = 0; i < 32; ++i) {
    if ((mask >> i & 1U) != 0) {
      lanes[i]->value = values[lanes[i]->from];
    }
  }
}

inline void vote(Lane* const* lanes, unsigned mask) {
  std::uint64_t set = 0;
  for (int i = 0; i < 32; ++i) {
    set |= (mask >> i & 1U) != 0 && lanes[i]->value != 0 ? std::uint64_t{1} << i : 0;
  }
  for (int i = 0; i < 32; ++i) {
    if ((mask >> i & 1U) != 0) {
      lanes[i]->value = set;
    }
  }
}

template <class Choose>
void reduce(Lane* const* lanes, unsigned mask, const Choose& choose) {
  std::uint64_t all = 0;
  bool begun = false;
  for (int i = 0; i < 32; ++i) {
    if ((mask >> i & 1U) != 0) {
      all = begun ? choose(all, lanes[i]->value) : lanes[i]->value;
      begun = true;
    }
  }
  for (int i = 0; i < 32; ++i) {
    if ((mask >> i & 1U) != 0) {
      lanes[i]->value = all;
    }
  }
}
inline void reduce_max(Lane* const* lanes, unsigned mask) {
  reduce(lanes, mask, [](std::uint64_t a, std::uint64_t b) { return std::max(a, b); });
}
inline void reduce_min(Lane* const* lanes, unsigned mask) {
  reduce(lanes, mask, [](std::uint64_t a, std::uint64_t b) { return std::min(a, b); });
}

inline int lane() { return static_cast<int>(threadIdx.x % 32); }

template <class T>
T shuffled(unsigned mask, T value, int from, const char* what, const std::source_location& where) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA shuffles 4 or 8 bytes");
  Lane mine{0, from};
  std::memcpy(&mine.value, &value, sizeof value);
  meet<Lane, shuffle>(mask, mine, what, where);
  std::memcpy(&value, &mine.value, sizeof value);
  return value;
}

inline unsigned voted(unsigned mask, bool yes, const char* what, const std::source_location& where) {
  Lane mine{yes ? 1U : 0U, 0};
  meet<Lane, vote>(mask, mine, what, where);
  return static_cast<unsigned>(mine.value);
}

/// `lane` of the caller's segment of `width` lanes, or its own where that lies outside.
inline int in_segment(int other, int width) {
  const int begin = lane() / width * width;
  return other >= begin && other < begin + width ? other : lane();
}

}  // namespace simulator

#define UNMASK_HERE const std::source_location& where = std::source_location::current()

inline void __syncthreads(UNMASK_HERE) { simulator::meet_in_block(0, "__syncthreads", where); }
inline int __syncthreads_count(int yes, UNMASK_HERE) { return simulator::meet_in_block(yes != 0 ? 1 : 0, "__syncthreads_count", where); }
inline int __syncthreads_or(int yes, UNMASK_HERE) { return simulator::meet_in_block(yes != 0 ? 1 : 0, "__syncthreads_or", where) != 0; }
inline int __syncthreads_and(int yes, UNMASK_HERE) { return simulator::meet_in_block(yes != 0 ? 0 : 1, "__syncthreads_and", where) == 0; }
inline void __syncwarp(unsigned mask = 0xFFFFFFFFU, UNMASK_HERE) { simulator::voted(mask, false, "__syncwarp", where); }

template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, UNMASK_HERE) {
  return simulator::shuffled(mask, value, simulator::lane() / width * width + (from & (width - 1)), "__shfl_sync", where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, UNMASK_HERE) {
  return simulator::shuffled(mask, value, simulator::in_segment(simulator::lane() ^ bits, width), "__shfl_xor_sync", where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, UNMASK_HERE) {
  return simulator::shuffled(mask, value, simulator::in_segment(simulator::lane() - static_cast<int>(by), width), "__shfl_up_sync", where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, UNMASK_HERE) {
  return simulator::shuffled(mask, value, simulator::in_segment(simulator::lane() + static_cast<int>(by), width), "__shfl_down_sync", where);
}
inline unsigned __ballot_sync(unsigned mask, int yes, UNMASK_HERE) { return simulator::voted(mask, yes != 0, "__ballot_sync", where); }
inline int __any_sync(unsigned mask, int yes, UNMASK_HERE) { return simulator::voted(mask, yes != 0, "__any_sync", where) != 0; }
inline int __all_sync(unsigned mask, int yes, UNMASK_HERE) { return simulator::voted(mask, yes == 0, "__all_sync", where) == 0; }

inline unsigned __reduce_max_sync(unsigned mask, unsigned value, UNMASK_HERE) {
  simulator::Lane mine{value, 0};
  simulator::meet<simulator::Lane, simulator::reduce_max>(mask, mine, "__reduce_max_sync", where);
  return static_cast<unsigned>(mine.value);
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value, UNMASK_HERE) {
  simulator::Lane mine{value, 0};
  simulator::meet<simulator::Lane, simulator::reduce_min>(mask, mine, "__reduce_min_sync", where);
  return static_cast<unsigned>(mine.value);
}

#undef UNMASK_HERE

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

/// Bytes of y, x as eight, the lowest of x first; selector nibbles choose, the lowest byte's first (bit 3 of a nibble, the sign, is not used).
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const std::uint64_t bytes = std::uint64_t{y} << 32 | x;
  unsigned result = 0;
  for (unsigned i = 0; i < 4; ++i) {
    result |= static_cast<unsigned>(bytes >> (selector >> (4 * i) & 7U) * 8 & 0xFFU) << (8 * i);
  }
  return result;
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>((std::uint64_t{a} * b) >> 32); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }

inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0F / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline float rsqrtf(float a) { return 1.0F / sqrtf(a); }
inline float __expf(float a) { return expf(a); }
inline float __fdividef(float a, float b) { return a / b; }

template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T __ldcs(const T* from) {
  return *from;
}
template <class T>
void __stcs(T* to, T value) {
  *to = value;
}

/// Whole numbers only: sums of floats would hang on their order.
template <class T>
T atomicAdd(T* to, T value) {
  static_assert(std::is_integral_v<T>);
  return __atomic_fetch_add(to, value, __ATOMIC_RELAXED);
}
template <class T>
T atomicMax(T* to, T value) {
  static_assert(std::is_integral_v<T>);
  T seen = __atomic_load_n(to, __ATOMIC_RELAXED);
  while (seen < value && !__atomic_compare_exchange_n(to, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return seen;
}

template <class T>
T atomicOr(T* to, T value) {
  static_assert(std::is_integral_v<T>);
  return __atomic_fetch_or(to, value, __ATOMIC_RELAXED);
}

template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  return b < a ? b : a;
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  return a < b ? b : a;
}
