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

/// Which experts a launch of a grouped product computes: the number of their pairs is known on the device alone.
enum class ExpertSize {
  kAny,
  kSmall,  ///< at most kLargeExpert pairs: one narrow tile
  kLarge,  ///< more: wide tiles
};
inline constexpr std::int64_t kLargeExpert = 64;

/// Whether the large experts get a launch of their own, with wide tiles. With few pairs an expert that has more than 64 is rare, and
/// a launch costs more than it brings. `most_pairs` may be far above the real number (with many ranks, all rows could come here).
constexpr bool divides_experts(std::int64_t most_pairs, std::int64_t num_experts) { return num_experts > 0 && most_pairs / num_experts > 16; }

/// Tiles of `rows` rows that pairs of so many experts can fall into at most: every expert that has any begins one of its own.
constexpr std::int64_t most_grouped_tiles(std::int64_t most_pairs, std::int64_t num_experts, std::int64_t rows, ExpertSize which = ExpertSize::kAny) {
  const std::int64_t could = which == ExpertSize::kLarge ? most_pairs / (kLargeExpert + 1) : most_pairs;
  const std::int64_t busy = could < num_experts ? could : num_experts;
  return which == ExpertSize::kSmall || busy == 0 ? busy : (most_pairs - busy) / rows + busy;
}

}  // namespace unmask::experts::cuda
