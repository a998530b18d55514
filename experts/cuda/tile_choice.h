// SPDX-License-Identifier: Apache-2.0
// Which tiles the products of bfloat16 are cut into: by shapes alone, and without any influence on a result's bits.
#pragma once

#include <cstdint>

namespace unmask::experts::cuda {

/// Rows x outputs of a block (tile_products.cuh).
enum class TileSize {
  kFew,     ///< 64 x 32: many blocks, deep pipelines
  kNarrow,  ///< 64 x 128
  kWide,    ///< 128 x 256: each value in shared memory is used most often
};

/// About as many blocks as the devices have multiprocessors (H100, H200: 132; A100: 108).
inline constexpr std::int64_t kBlocksWanted = 108;

constexpr std::int64_t tiles_of(std::int64_t size, std::int64_t tile) { return (size + tile - 1) / tile; }

/// The largest that still gives every multiprocessor a block.
constexpr TileSize choose_dense_tile(std::int64_t most_rows, std::int64_t outputs) {
  if (most_rows > 64 && tiles_of(most_rows, 128) * tiles_of(outputs, 256) >= kBlocksWanted) {
    return TileSize::kWide;
  }
  return tiles_of(most_rows, 64) * tiles_of(outputs, 128) >= kBlocksWanted ? TileSize::kNarrow : TileSize::kFew;
}

/// Wide where an expert has more than 64 rows on the average; each expert's weights are then read once per 128 rows.
constexpr TileSize choose_grouped_tile(std::int64_t most_pairs, std::int64_t num_experts) {
  return num_experts > 0 && most_pairs / num_experts > 64 ? TileSize::kWide : TileSize::kNarrow;
}

/// Tiles of `rows` rows that pairs of so many experts can fall into at most: every expert that has any begins one of its own.
constexpr std::int64_t most_grouped_tiles(std::int64_t most_pairs, std::int64_t num_experts, std::int64_t rows) {
  const std::int64_t busy = most_pairs < num_experts ? most_pairs : num_experts;
  return (most_pairs - busy) / rows + busy;
}

}  // namespace unmask::experts::cuda
