// SPDX-License-Identifier: Apache-2.0
// Stands in front of experts/cuda/instructions.cuh where kernels run on the simulator: the same functions as plain loops. Where
// several threads' registers meet, the last to come does the work for all.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include <cuda_runtime.h>

#include "base/bfloat16.h"
#include "simulator/async_copies.h"

namespace unmask::experts::cuda {

inline constexpr unsigned kWarp = 32;

inline float widen(bfloat16 x) { return to_float(x); }
inline bfloat16 narrow(float x) { return to_bfloat16(x); }
inline std::uint32_t narrow_pair(float low, float high) {
  return static_cast<std::uint32_t>(to_bfloat16(low).bits) | static_cast<std::uint32_t>(to_bfloat16(high).bits) << 16;
}
inline float fast_exp2(float x) { return exp2f(x); }
inline float fast_reciprocal(float x) { return 1.0F / x; }

enum class Fill { kCopy, kZero };
inline void copy_16(void* shared, const void* global, Fill fill) {
  simulator::begin_copy(shared, fill == Fill::kCopy ? global : nullptr);
}
inline void commit_copies() { simulator::commit_copies(); }
template <int pending>
void wait_copies() {
  simulator::wait_copies(pending);
}

namespace simulated {

struct Matrices {
  const std::uint16_t* row;
  std::uint32_t* m;
};

template <bool transposed>
void load(Matrices* const* lanes, unsigned) {
  for (int t = 0; t < 32; ++t) {
    for (int i = 0; i < 4; ++i) {
      const auto value = [&](int second) -> std::uint32_t {
        const int row = transposed ? t % 4 * 2 + second : t / 4;
        const int column = transposed ? t / 4 : t % 4 * 2 + second;
        return lanes[i * 8 + row]->row[column];
      };
      lanes[t]->m[i] = value(0) | value(1) << 16;
    }
  }
}

struct Product {
  float* d;
  const std::uint32_t* a;
  std::uint32_t b[2];
};

inline float half(std::uint32_t pair, int which) {
  return to_float(bfloat16{static_cast<std::uint16_t>(which == 0 ? pair & 0xFFFFU : pair >> 16)});
}

inline void multiply(Product* const* lanes, unsigned) {
  float a[16][16];
  float b[8][16];
  for (int t = 0; t < 32; ++t) {
    for (int second = 0; second < 2; ++second) {
      for (int i = 0; i < 4; ++i) {
        a[t / 4 + i % 2 * 8][t % 4 * 2 + second + i / 2 * 8] = half(lanes[t]->a[i], second);
      }
      for (int i = 0; i < 2; ++i) {
        b[t / 4][t % 4 * 2 + second + i * 8] = half(lanes[t]->b[i], second);
      }
    }
  }
  for (int t = 0; t < 32; ++t) {
    for (int i = 0; i < 4; ++i) {
      float sum = 0;  // of the products first: how the tensor cores add within an instruction is theirs to know
      for (int k = 0; k < 16; ++k) {
        sum += a[t / 4 + i / 2 * 8][k] * b[t % 4 * 2 + i % 2][k];
      }
      lanes[t]->d[i] += sum;
    }
  }
}

}  // namespace simulated

inline void load_matrices(std::uint32_t (&m)[4], const void* row) {
  simulator::check_aligned(row, "ldmatrix");
  simulated::Matrices mine{static_cast<const std::uint16_t*>(row), m};
  simulator::meet<simulated::Matrices, simulated::load<false>>(~0U, mine, "ldmatrix");
}
inline void load_matrices_transposed(std::uint32_t (&m)[4], const void* row) {
  simulator::check_aligned(row, "ldmatrix");
  simulated::Matrices mine{static_cast<const std::uint16_t*>(row), m};
  simulator::meet<simulated::Matrices, simulated::load<true>>(~0U, mine, "ldmatrix.trans");
}
inline void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  simulated::Product mine{d, a, {b0, b1}};
  simulator::meet<simulated::Product, simulated::multiply>(~0U, mine, "mma");
}

}  // namespace unmask::experts::cuda
