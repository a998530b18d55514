// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by amx.cpp: tiles of quantised weights, turned into tiles of bfloat16.
// Quantised forms and the order of their numbers: experts/quantised.h.

/// Scales of one group, one for each output.
inline __m512 load_scales(const char* scales) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(scales));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/// The upper halves of 16 pairs. Not the instruction that rounds two vectors to bfloat16: it takes turns with the tile
/// product, and both together cost more than one after the other (59 against 36 ns a tile).
inline void store_pairs(__m512i even, __m512i odd, char* line) {
  const __m512i upper_to_lower = _mm512_set4_epi32(0x0f0e0f0e, 0x0b0a0b0a, 0x07060706, 0x03020302);
  _mm512_store_si512(line, _mm512_mask_shuffle_epi8(odd, 0x3333333333333333U, even, upper_to_lower));
}

struct Int8Tiles {
  static constexpr std::int64_t kTile = 512, kBlockTiles = 4, kGroupTiles = 2;

  static __m512i weights(const char* numbers, __m512 scales) {
    const __m512i wide = _mm512_cvtepi8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(numbers)));
    const __m512 exact = _mm512_mul_ps(_mm512_cvtepi32_ps(wide), scales);
    return _mm512_add_epi32(_mm512_castps_si512(exact), _mm512_set1_epi32(0x8000));
  }
  static void expand(const char* numbers, __m512 scales, char* tile) {
    for (std::int64_t line = 0; line < kTileLines; ++line) {
      store_pairs(weights(numbers + line * 32, scales), weights(numbers + line * 32 + 16, scales), tile + line * kLineBytes);
    }
  }
};

struct Int4Tiles {
  static constexpr std::int64_t kTile = 256, kBlockTiles = 2, kGroupTiles = 1;

  /// Of the numbers in the lowest four bits of each word: bfloat16 values as they are.
  static __m512i weights(__m512i words, __m512 scales) {
    const __m512 table = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1);
    return _mm512_castps_si512(_mm512_mul_ps(_mm512_permutexvar_ps(words, table), scales));
  }
  template <int Line>
  static void expand_line(__m512i words, __m512 scales, char* lines) {
    store_pairs(weights(_mm512_srli_epi32(words, 8 * Line), scales), weights(_mm512_srli_epi32(words, 8 * Line + 4), scales),
                lines + Line * kLineBytes);
  }
  static void expand(const char* numbers, __m512 scales, char* tile) {
    for (std::int64_t four = 0; four < 4; ++four) {
      const __m512i words = _mm512_load_si512(numbers + four * kLineBytes);
      char* lines = tile + four * 4 * kLineBytes;
      expand_line<0>(words, scales, lines);
      expand_line<1>(words, scales, lines);
      expand_line<2>(words, scales, lines);
      expand_line<3>(words, scales, lines);
    }
  }
};

template <class Tiles>
constexpr std::int64_t kBlockBytes = kLineBytes + Tiles::kBlockTiles * Tiles::kTile;

/// Tile `number` of a panel, whose blocks begin at `panel`.
template <class Tiles>
inline void expand_tile(const char* panel, std::int64_t number, char* tile) {
  const char* block = panel + number / Tiles::kBlockTiles * kBlockBytes<Tiles>;
  const std::int64_t at = number % Tiles::kBlockTiles;
  const __m512 scales = load_scales(block + at / Tiles::kGroupTiles * 32);
  Tiles::expand(block + kLineBytes + at * Tiles::kTile, scales, tile);
}
