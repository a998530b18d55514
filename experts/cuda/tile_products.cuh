// SPDX-License-Identifier: Apache-2.0
// What all matrix products of bfloat16 have in common: one block computes a tile of x w^T, x and w row-major in device memory.
//
//   stage (one of a ring in shared memory):   x: rows    x 64 values of k   <- copied 16 bytes at a time, some stages ahead
//                                             w: outputs x 64 values of k
//   warp: row_parts x 16 rows, output_parts x 16 outputs, in steps of 16 values of k (mma.sync m16n8k16)
//
// An output is the sum of its steps, ascending from k = 0, in one accumulator that begins at zero, whatever the tile's size and
// whoever is beside it in the tile: so tiles may be chosen by the number of rows without changing a bit.
//
// How much must be under way: an H200 reads some 4.8 TB/s; at an estimated 0.7 to 1 microseconds under load that are 3.4 to 4.8 MB,
// 25 to 36 KB for each of 132 multiprocessors (A100: some 15). Narrow: 16 KB of weights a stage, 2 stages ahead, 3 blocks: 96 KB.
// Few: 4 KB, 7 ahead, 2 blocks: 56 KB. Estimates, not measurements.
#pragma once

#include "experts/cuda/instructions.cuh"

namespace unmask::experts::cuda {

inline constexpr int kDepth = 64;                 ///< values of k in a stage
inline constexpr int kPiece = 8;                  ///< values that are copied at a time
inline constexpr int kPieces = kDepth / kPiece;

template <int row_warps, int output_warps, int row_parts, int output_parts, int stages, int blocks>
struct Tile {
  static constexpr int kOutputWarps = output_warps;
  static constexpr int kRowParts = row_parts, kOutputParts = output_parts;
  static constexpr int kRows = row_warps * row_parts * 16;
  static constexpr int kOutputs = output_warps * output_parts * 16;
  static constexpr int kThreads = row_warps * output_warps * static_cast<int>(kWarp);
  static constexpr int kStages = stages;
  static constexpr int kBlocks = blocks;          ///< that should fit on a multiprocessor
  static constexpr int kStageValues = (kRows + kOutputs) * kDepth;
  static constexpr unsigned kSharedBytes = static_cast<unsigned>(stages * kStageValues) * sizeof(bfloat16);

  using Sums = float[static_cast<unsigned>(row_parts)][2U * static_cast<unsigned>(output_parts)][4];  ///< as multiply_add's d, of 16 rows by 8 outputs
};
using FewTile = Tile<1, 2, 4, 1, 8, 2>;
using NarrowTile = Tile<1, 4, 4, 2, 3, 3>;
using WideTile = Tile<2, 4, 4, 4, 3, 1>;

/// Pieces of a row are permuted, so that the same piece of eight rows lies in different banks.
__device__ inline bfloat16* piece_at(bfloat16* rows, int row, int piece) { return rows + row * kDepth + (piece ^ (row & 7)) * kPiece; }

/// A thread's part of copying rows into stages: one piece of each threads / 8th row.
template <int threads, int rows>
class Feeder {
 public:
  /// row_at(i): where row i begins, null: zeros. Rows from `limit` on are left out.
  template <class RowAt>
  __device__ Feeder(const RowAt& row_at, int limit) {
    const int first = static_cast<int>(threadIdx.x) / kPieces;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int row = first + i * kApart;
      from_[i] = row < limit ? row_at(row) : nullptr;
      each_ += row < limit ? 1 : 0;
    }
  }
  /// Values [begin, begin + 64) of k; zeros past `k`.
  __device__ void feed(bfloat16* stage, int begin, int k, const bfloat16* anywhere) const {
    const int piece = static_cast<int>(threadIdx.x) % kPieces;
    const int at = begin + piece * kPiece;
    bfloat16* to = piece_at(stage, static_cast<int>(threadIdx.x) / kPieces, piece);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (i < each_) {
        const bool real = from_[i] != nullptr && at < k;
        copy_16(to + i * kApart * kDepth, real ? from_[i] + at : anywhere, real ? Fill::kCopy : Fill::kZero);
      }
    }
  }

 private:
  static constexpr int kApart = threads / kPieces;
  static constexpr int kEach = rows / kApart;
  static_assert(kApart % 8 == 0 && kEach * kApart == rows);
  const bfloat16* from_[static_cast<unsigned>(kEach)];
  int each_ = 0;
};

enum class Rows { kAll, kSome };

/// One stage's share of the sums: rows of the warp from `rows` on are left alone.
template <class T, Rows which>
__device__ void multiply_stage(bfloat16* stage, int rows, typename T::Sums& sums) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  const int first_row = warp / T::kOutputWarps * T::kRowParts * 16;
  const int first_output = warp % T::kOutputWarps * T::kOutputParts * 16;
  bfloat16* weights = stage + T::kRows * kDepth;
#pragma unroll
  for (int step = 0; step < kDepth / 16; ++step) {
    std::uint32_t w[static_cast<unsigned>(T::kOutputParts)][4];
#pragma unroll
    for (int part = 0; part < T::kOutputParts; ++part) {
      load_matrices(w[part], piece_at(weights, first_output + part * 16 + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
    }
#pragma unroll
    for (int part = 0; part < T::kRowParts; ++part) {
      if (which == Rows::kAll || first_row + part * 16 < rows) {
        std::uint32_t x[4];
        load_matrices(x, piece_at(stage, first_row + part * 16 + lane % 16, step * 2 + lane / 16));
#pragma unroll
        for (int i = 0; i < T::kOutputParts; ++i) {
          multiply_add(sums[part][2 * i], x, w[i][0], w[i][1]);
          multiply_add(sums[part][2 * i + 1], x, w[i][2], w[i][3]);
        }
      }
    }
  }
}

/// sums = x w^T of a tile with `rows` rows, at least one; row_at, weight_at: row i of the tile's x and w, null: zeros.
template <class T, class RowAt, class WeightAt>
__device__ void multiply_tile(bfloat16* ring, int rows, int k, const RowAt& row_at, const WeightAt& weight_at, typename T::Sums& sums) {
  const bfloat16* anywhere = row_at(0);
  const Feeder<T::kThreads, T::kRows> x(row_at, (rows + 15) / 16 * 16);
  const Feeder<T::kThreads, T::kOutputs> w(weight_at, T::kOutputs);
  const int stages = (k + kDepth - 1) / kDepth;
  const auto feed = [&](int s) {
    if (s < stages) {
      bfloat16* stage = ring + s % T::kStages * T::kStageValues;
      w.feed(stage + T::kRows * kDepth, s * kDepth, k, anywhere);
      x.feed(stage, s * kDepth, k, anywhere);
    }
    commit_copies();  // An empty group too: groups count stages.
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
    __syncthreads();  // Stage s is there from everyone, and everyone is done with stage s - 1, which is filled next.
    feed(s + T::kStages - 1);
    bfloat16* stage = ring + s % T::kStages * T::kStageValues;
    if (rows == T::kRows) {
      multiply_stage<T, Rows::kAll>(stage, rows, sums);
    } else {
      multiply_stage<T, Rows::kSome>(stage, rows, sums);
    }
  }
  wait_copies<0>();
}

/// use(row, output, i, j, v): the thread's sums of real rows, two neighbours at a time: outputs `output` and the next of `row` are
/// sums[i][j][v] and sums[i][j][v + 1].
template <class T, class Use>
__device__ void for_each_sum(int rows, const Use& use) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int warp = static_cast<int>(threadIdx.x / kWarp);
#pragma unroll
  for (int i = 0; i < T::kRowParts; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = (warp / T::kOutputWarps * T::kRowParts + i) * 16 + half * 8 + lane / 4;
      if (row < rows) {
#pragma unroll
        for (int j = 0; j < 2 * T::kOutputParts; ++j) {
          use(row, warp % T::kOutputWarps * T::kOutputParts * 16 + j * 8 + lane % 4 * 2, i, j, half * 2);
        }
      }
    }
  }
}

}  // namespace unmask::experts::cuda
