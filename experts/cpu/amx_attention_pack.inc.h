// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by amx.cpp: keys, values and queries of one head as tiles.
//
//   keys     [keys / 16][dim / 32]  tiles of [16 pairs of dim][16 keys][2]    weights of the scores
//   values   [keys / 32][dim / 16]  tiles of [16 pairs of keys][16 dim][2]    weights of the sums
//   queries  [dim / 32]             tiles of [16 queries][32 dim]             inputs of the scores
//
// Keys and values are packed once for all queries of a call and stay in the second cache: 512 KiB for 1,024 keys of 128.

constexpr std::int64_t kKeysPerPair = 32;  // keys of one tile of weights: the smallest whole number of tiles of both kinds

struct PackedKeys {
  char* k;
  char* v;
  std::int64_t num_keys;
  std::int64_t dim_tiles;  ///< of 32

  const char* key_tiles(std::int64_t tile) const { return k + tile * dim_tiles * kTileBytes; }
  const char* value_tiles(std::int64_t pair) const { return v + pair * 2 * dim_tiles * kTileBytes; }
};

/// Transposes 16 x 16 words of 32 bits.
inline void transpose(__m512i (&r)[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    const __m512i a = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    const __m512i c = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
    const __m512i d = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
    t[i] = _mm512_shuffle_i32x4(a, b, 0x88);
    t[8 + i] = _mm512_shuffle_i32x4(a, b, 0xdd);
    t[4 + i] = _mm512_shuffle_i32x4(c, d, 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(c, d, 0xdd);
  }
  for (int i = 0; i < 16; ++i) {
    r[i] = t[i];
  }
}

/// Keys past the end are zero: their weights become zero, and zero times anything stored must not be a NaN.
template <class Stored>
inline void pack_keys(const AttentionProblem& a, const Stored* keys, const PackedKeys& packed) {
  for (std::int64_t first = 0; first < a.num_keys; first += kBlockRows) {
    for (std::int64_t tile = 0; tile < packed.dim_tiles; ++tile) {
      __m512i lines[16];
      for (std::int64_t j = 0; j < kBlockRows; ++j) {
        const bool there = first + j < a.num_keys;
        lines[j] = load_line(keys + (there ? first + j : 0) * a.kv_stride, tile * 32, there ? a.head_dim : 0);
      }
      transpose(lines);
      __builtin_memcpy(packed.k + (first / kBlockRows * packed.dim_tiles + tile) * kTileBytes, lines, sizeof lines);
    }
  }
  if (const std::int64_t tiles = up_to(a.num_keys, kBlockRows); tiles % 2 != 0) {
    __builtin_memset(packed.k + tiles * packed.dim_tiles * kTileBytes, 0, static_cast<std::size_t>(packed.dim_tiles * kTileBytes));
  }
}

template <class Stored>
inline void pack_values(const AttentionProblem& a, const Stored* values, const PackedKeys& packed) {
  const __m512i low_of_each = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4,
                                               35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high_of_each = _mm512_add_epi16(low_of_each, _mm512_set1_epi16(16));
  for (std::int64_t key = 0; key < up_to(a.num_keys, kKeysPerPair) * kKeysPerPair; key += 2) {
    char* line = packed.v + key / kKeysPerPair * 2 * packed.dim_tiles * kTileBytes + key % kKeysPerPair / 2 * kLineBytes;
    const std::int64_t dims = key < a.num_keys ? a.head_dim : 0;
    const std::int64_t dims_of_next = key + 1 < a.num_keys ? a.head_dim : 0;
    const Stored* here = values + (dims > 0 ? key : 0) * a.kv_stride;
    const Stored* next = values + (dims_of_next > 0 ? key + 1 : 0) * a.kv_stride;
    for (std::int64_t tile = 0; tile < packed.dim_tiles; ++tile, line += 2 * kTileBytes) {
      const __m512i even = load_line(here, tile * 32, dims);
      const __m512i odd = load_line(next, tile * 32, dims_of_next);
      _mm512_store_si512(line, _mm512_permutex2var_epi16(even, low_of_each, odd));
      _mm512_store_si512(line + kTileBytes, _mm512_permutex2var_epi16(even, high_of_each, odd));
    }
  }
}

/// Bytes of keys, or of values, as tiles.
inline std::int64_t packed_bytes(std::int64_t num_keys, std::int64_t head_dim) {
  return up_to(num_keys, kKeysPerPair) * 2 * up_to(head_dim, 32) * kTileBytes;
}

std::int64_t attention_workspace(std::int64_t num_keys, std::int64_t head_dim) { return 2 * packed_bytes(num_keys, head_dim); }

inline PackedKeys pack(const AttentionProblem& a) {
  PackedKeys packed{reinterpret_cast<char*>(a.workspace), reinterpret_cast<char*>(a.workspace) + packed_bytes(a.num_keys, a.head_dim),
                    a.num_keys, up_to(a.head_dim, 32)};
  if (a.k != nullptr) {
    pack_keys(a, a.k, packed);
    pack_values(a, a.v, packed);
  } else {
    pack_keys(a, a.k16, packed);
    pack_values(a, a.v16, packed);
  }
  return packed;
}
