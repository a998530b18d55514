// SPDX-License-Identifier: Apache-2.0
// Products of bfloat16 rows with int8 weights in panels of 16 outputs (experts/quantised.h). Numbers travel through shared memory as they
// are stored and become bfloat16 in registers, on their way to the tensor cores; in all else as tile_products.cuh, to the bit: steps of
// 16 values of k, ascending, in one accumulator.
//
//   stage:  x: rows x 64 values of k | panels: each 64 x 16 numbers [k][output], 16 scales: one group of the quantisation
//   warp:   pairs of panels, 32 outputs as four parts of 8 (mma's n)
//
// Which output is which column of mma is ours to say: column h of part j is output 4 (h % 4) + j of panel h / 4 of the pair. Then the four
// numbers of one k in a 32-bit word are one thread's, for its four parts, and so are four neighbouring outputs of what it sums.
#pragma once

#include "experts/cuda/int8_form.h"
#include "experts/cuda/tile_products.cuh"

namespace unmask::experts::cuda {

/// A panel in a stage, padded so that the two of a pair lie in different banks.
inline constexpr int kPanelBytes = kGroupNumbers + kGroupScales + 16;
static_assert(kGroupInputs == kDepth && kPanelBytes % 16 == 0 && kPanelBytes / 4 % 8 == 4);

/// Tile T with other stages, of which more fit.
template <class T, int stages>
struct Int8Tile : T {
  static constexpr int kStages = stages;
  static constexpr int kPanels = T::kOutputs / kPanelOutputs;
  static constexpr int kRowBytes = T::kRows * kDepth * static_cast<int>(sizeof(bfloat16));
  static constexpr int kStageBytes = kRowBytes + kPanels * kPanelBytes;
  static constexpr unsigned kSharedBytes = static_cast<unsigned>(stages * kStageBytes);
  static_assert(T::kOutputParts % 2 == 0);
};
using NarrowInt8 = Int8Tile<NarrowTile, 4>;
using WideInt8 = Int8Tile<WideTile, 3>;

/// Begins to copy stage s of the tile's panels. panel_at(i): where panel i begins, null: zeros.
template <class T, class PanelAt>
__device__ void feed_panels(std::byte* panels, int s, const PanelAt& panel_at, const void* anywhere) {
  constexpr int kNumbers = kGroupNumbers / 16, kScales = kGroupScales / 16;  // copies
  const auto copy = [&](int panel, std::byte* to, std::int64_t from) {
    const std::byte* const begin = panel_at(panel);
    copy_16(to, begin == nullptr ? anywhere : begin + from, begin == nullptr ? Fill::kZero : Fill::kCopy);
  };
  const std::int64_t block = s / 2 * kBlockBytes;
  const int half = s % 2;
  const int thread = static_cast<int>(threadIdx.x);
  static_assert(T::kThreads % kNumbers == 0);
  for (int i = thread; i < T::kPanels * kNumbers; i += T::kThreads) {
    const int panel = i / kNumbers, piece = i % kNumbers;
    copy(panel, panels + panel * kPanelBytes + piece * 16, block + kBlockScales + half * kGroupNumbers + piece * 16);
  }
  for (int i = thread; i < T::kPanels * kScales; i += T::kThreads) {
    const int panel = i / kScales, piece = i % kScales;
    copy(panel, panels + panel * kPanelBytes + kGroupNumbers + piece * 16, block + half * kGroupScales + piece * 16);
  }
}

/// number * scale as float bits of which the upper half is the weight: rounded to nearest, ties away from zero. `word`: four numbers, 128
/// added to each. With 0x47 above it a byte is the float 32768 + byte, exact, as is the product of 8 and 8 bits.
__device__ inline std::uint32_t expand(std::uint32_t word, int i, float scale) {
  const float shifted = __uint_as_float(__byte_perm(word, 0x47000000U, 0x7404U + (static_cast<unsigned>(i) << 4U)));
  return __float_as_uint(__fmul_rn(__fsub_rn(shifted, 32768.0F + 128.0F), scale)) + 0x8000U;
}

/// One stage's share of the sums: rows of the warp from `rows` on are left alone.
template <class T, Rows which>
__device__ void multiply_int8_stage(std::byte* stage, int rows, typename T::Sums& sums) {
  constexpr int kPairs = T::kOutputParts / 2;
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  const int first_row = warp / T::kOutputWarps * T::kRowParts * 16;
  auto* const x_stage = reinterpret_cast<bfloat16*>(stage);
  const int column = lane / 4;  // mma's n
  const std::byte* const mine = stage + T::kRowBytes + (warp % T::kOutputWarps * T::kOutputParts + column / 4) * kPanelBytes + column % 4 * 4;
  float scales[static_cast<unsigned>(kPairs)][4];
#pragma unroll
  for (int pair = 0; pair < kPairs; ++pair) {
    const uint2 bits = *reinterpret_cast<const uint2*>(mine + pair * 2 * kPanelBytes + kGroupNumbers + column % 4 * 4);
    scales[pair][0] = __uint_as_float(bits.x << 16);
    scales[pair][1] = __uint_as_float(bits.x & 0xFFFF0000U);
    scales[pair][2] = __uint_as_float(bits.y << 16);
    scales[pair][3] = __uint_as_float(bits.y & 0xFFFF0000U);
  }
#pragma unroll
  for (int step = 0; step < kDepth / 16; ++step) {
    std::uint32_t w[static_cast<unsigned>(kPairs)][4][2];
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      const std::byte* const numbers = mine + pair * 2 * kPanelBytes + (step * 16 + lane % 4 * 2) * kPanelOutputs;
      const auto word = [&](int k) { return *reinterpret_cast<const std::uint32_t*>(numbers + k * kPanelOutputs) ^ 0x80808080U; };
      const std::uint32_t words[4] = {word(0), word(1), word(8), word(9)};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          w[pair][j][half] = __byte_perm(expand(words[2 * half], j, scales[pair][j]), expand(words[2 * half + 1], j, scales[pair][j]), 0x7632U);
        }
      }
    }
#pragma unroll
    for (int part = 0; part < T::kRowParts; ++part) {
      if (which == Rows::kAll || first_row + part * 16 < rows) {
        std::uint32_t x[4];
        load_matrices(x, piece_at(x_stage, first_row + part * 16 + lane % 16, step * 2 + lane / 16));
#pragma unroll
        for (int pair = 0; pair < kPairs; ++pair) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            multiply_add(sums[part][4 * pair + j], x, w[pair][j][0], w[pair][j][1]);
          }
        }
      }
    }
  }
}

/// sums = x w^T of a tile with `rows` rows, at least one; row_at as in multiply_tile(), panel_at(i): where the tile's i-th panel begins in
/// its stream, null: zeros.
template <class T, class RowAt, class PanelAt>
__device__ void multiply_int8_tile(std::byte* ring, int rows, int k, const RowAt& row_at, const PanelAt& panel_at, typename T::Sums& sums) {
  const bfloat16* const anywhere = row_at(0);
  const Feeder<T::kThreads, T::kRows> x(row_at, (rows + 15) / 16 * 16);
  const int stages = (k + kDepth - 1) / kDepth;
  const auto feed = [&](int s) {
    if (s < stages) {
      std::byte* const stage = ring + s % T::kStages * T::kStageBytes;
      feed_panels<T>(stage + T::kRowBytes, s, panel_at, anywhere);
      x.feed(reinterpret_cast<bfloat16*>(stage), s * kDepth, k, anywhere);
    }
    commit_copies();  // an empty group too: groups count stages
  };
#pragma unroll
  for (int i = 0; i < T::kRowParts; ++i) {
#pragma unroll
    for (int j = 0; j < 2 * T::kOutputParts; ++j) {
#pragma unroll
      for (int v = 0; v < 4; ++v) {
        sums[i][j][v] = 0.0F;
      }
    }
  }
  for (int s = 0; s < T::kStages - 1; ++s) {
    feed(s);
  }
  for (int s = 0; s < stages; ++s) {
    wait_copies<T::kStages - 2>();
    __syncthreads();  // stage s is there from everyone, and everyone is done with stage s - 1, which is filled next
    feed(s + T::kStages - 1);
    std::byte* const stage = ring + s % T::kStages * T::kStageBytes;
    if (rows == T::kRows) {
      multiply_int8_stage<T, Rows::kAll>(stage, rows, sums);
    } else {
      multiply_int8_stage<T, Rows::kSome>(stage, rows, sums);
    }
  }
  wait_copies<0>();
}

/// use(row, i, half, pair): the thread's sums sums[i][4 * pair ..][2 * half ..] are of this row of the tile, real or not. All threads of a
/// warp come together, as they may want to shuffle.
template <class T, class Use>
__device__ void for_each_pair(const Use& use) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int warp = static_cast<int>(threadIdx.x / kWarp);
#pragma unroll
  for (int i = 0; i < T::kRowParts; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int pair = 0; pair < T::kOutputParts / 2; ++pair) {
        use((warp / T::kOutputWarps * T::kRowParts + i) * 16 + half * 8 + lane / 4, i, half, pair);
      }
    }
  }
}

}  // namespace unmask::experts::cuda
