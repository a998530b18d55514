// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by amx.cpp: attention with tiles and a running softmax.
//
// Keys in blocks of 64 from position 0, as in attention.inc.h. Scores are taken transposed, so that keys and queries need no
// transposition and the softmax of 16 queries runs in the 16 lanes:
//
//   scores [64 keys, 16 queries] = K [64, dim] * Q^T      P = exp(scores - top), bfloat16      O [16, dim] += P [16, 64] * V
//
// Weights are rounded before they are summed too: what the rounding does to the numerator it does to the divisor.

constexpr std::int64_t kMaxHeadDim = 256;
constexpr std::int64_t kQueries = 16;
constexpr std::int64_t kGroupsAtOnce = 4;  // groups of 16 queries that share a block of converted keys and values
constexpr std::int64_t kHalfBlock = 32;    // keys of one tile of P

/// A block of keys [4 of 16 keys][dim / 32][16][32] and values [2 of 32 keys][dim / 16][16 pairs][16][2].
struct KeyBlock {
  alignas(64) char k[4 * kMaxHeadDim / 32 * kTileBytes];
  alignas(64) char v[2 * kMaxHeadDim / 16 * kTileBytes];
  std::int64_t count;
};

/// 16 queries on their way over the keys.
struct QueryGroup {
  alignas(64) char q[kMaxHeadDim / 32 * kTileBytes];  ///< [dim / 32][16 pairs][16 queries][2]
  alignas(64) float o[kMaxHeadDim / 16][256];         ///< [dim / 16][16 queries][16]
  Vec top, total;
};

inline __m512 load_masked(const float* row, std::int64_t at, std::int64_t count) {
  const std::int64_t left = count - at;
  const auto mask = static_cast<__mmask16>(left >= kLanes ? 0xffff : left <= 0 ? 0 : (1 << left) - 1);
  return _mm512_maskz_loadu_ps(mask, row + at);
}

/// The same of keys and values that are stored in bfloat16.
inline __m512 load_masked(const bfloat16* row, std::int64_t at, std::int64_t count) {
  const std::int64_t left = count - at;
  const auto mask = static_cast<__mmask16>(left >= kLanes ? 0xffff : left <= 0 ? 0 : (1 << left) - 1);
  const __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, row + at)), 16);
  return _mm512_castsi512_ps(wide);
}

/// 16 pairs (low[i], high[i]) of bfloat16.
inline __m512i pairs_of(__m512 low, __m512 high) {
  const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20,
                                         4, 19, 3, 18, 2, 17, 1, 16, 0);
  __m512i bits;
  __builtin_memcpy(&bits, &both, sizeof bits);
  return _mm512_permutexvar_epi16(order, bits);
}

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

template <class Stored>
inline void load_block(const AttentionProblem& a, const Stored* keys, const Stored* values, std::int64_t first, KeyBlock& block) {
  const std::int64_t num_tiles = up_to(a.head_dim, 32);
  block.count = a.num_keys - first < kKeyBlock ? a.num_keys - first : kKeyBlock;
  for (std::int64_t j = 0; j < kKeyBlock; j += 2) {
    // Keys past the end are zero: their weights become zero, and zero times anything stored must not be a NaN.
    const std::int64_t dims = j < block.count ? a.head_dim : 0;
    const std::int64_t dims_of_next = j + 1 < block.count ? a.head_dim : 0;
    const std::int64_t row = j < block.count ? first + j : first;
    const Stored* k = keys + row * a.kv_stride;
    const Stored* v = values + row * a.kv_stride;
    const std::int64_t step = dims_of_next > 0 ? a.kv_stride : 0;
    for (std::int64_t d = 0; d < num_tiles * 32; d += 32) {
      char* tile = block.k + ((j / 16 * num_tiles + d / 32) * kTileBytes) + j % 16 * kLineBytes;
      const __m512bh even = _mm512_cvtne2ps_pbh(load_masked(k, d + 16, dims), load_masked(k, d, dims));
      const __m512bh odd = _mm512_cvtne2ps_pbh(load_masked(k + step, d + 16, dims_of_next), load_masked(k + step, d, dims_of_next));
      __builtin_memcpy(tile, &even, sizeof even);
      __builtin_memcpy(tile + kLineBytes, &odd, sizeof odd);
    }
    for (std::int64_t d = 0; d < num_tiles * 32; d += 16) {
      char* tile = block.v + (j / kHalfBlock * num_tiles * 2 + d / 16) * kTileBytes;
      const __m512i both = pairs_of(load_masked(v, d, dims), load_masked(v + step, d, dims_of_next));
      _mm512_store_si512(tile + j % kHalfBlock / 2 * kLineBytes, both);
    }
  }
}

inline void load_queries(const AttentionProblem& a, std::int64_t first, QueryGroup& group) {
  const std::int64_t num_tiles = up_to(a.head_dim, 32);
  for (std::int64_t tile = 0; tile < num_tiles; ++tile) {
    __m512i lines[kQueries];
    for (std::int64_t r = 0; r < kQueries; ++r) {
      const std::int64_t dims = first + r < a.rows ? a.head_dim : 0;
      const float* q = a.q + (dims > 0 ? first + r : 0) * a.q_stride;
      const __m512bh both = _mm512_cvtne2ps_pbh(load_masked(q, tile * 32 + 16, dims), load_masked(q, tile * 32, dims));
      __builtin_memcpy(&lines[r], &both, sizeof both);
    }
    transpose(lines);
    __builtin_memcpy(group.q + tile * kTileBytes, lines, sizeof lines);
  }
  __builtin_memset(group.o, 0, sizeof group.o);
  group.top = broadcast(-__builtin_inff());
  group.total = broadcast(0.0F);
}

inline void score(const KeyBlock& block, const QueryGroup& group, std::int64_t num_tiles, float* scores) {
  clear_sums();
  for (std::int64_t tile = 0; tile < num_tiles; ++tile) {
    const char* k = block.k + tile * kTileBytes;
    const std::int64_t stride = num_tiles * kTileBytes;
    tile_load<6>(group.q + tile * kTileBytes);
    tile_load<4>(k);
    tile_dot<0, 4, 6>();
    tile_load<5>(k + stride);
    tile_dot<1, 5, 6>();
    tile_load<4>(k + 2 * stride);
    tile_dot<2, 4, 6>();
    tile_load<5>(k + 3 * stride);
    tile_dot<3, 5, 6>();
  }
  tile_store<0>(scores);
  tile_store<1>(scores + 256);
  tile_store<2>(scores + 512);
  tile_store<3>(scores + 768);
}

/// Scores [64, 16] to weights, two tiles [16, 32]; returns by what the sums so far must be multiplied.
inline Vec weigh(const float* scores, std::int64_t count, float scale, QueryGroup& group, char* weights) {
  const Vec factor = broadcast(scale);
  Vec top = group.top;
  for (std::int64_t j = 0; j < count; ++j) {
    top = larger(load(scores + j * kLanes) * factor, top);
  }
  const Vec correction = exponential(group.top - top);
  Vec total = broadcast(0.0F);
  for (std::int64_t half = 0; half < 2; ++half) {
    __m512i lines[16];
    for (std::int64_t pair = 0; pair < 16; ++pair) {
      const std::int64_t j = half * kHalfBlock + pair * 2;
      const auto weight = [&](std::int64_t key) {
        return key < count ? exponential(load(scores + key * kLanes) * factor - top).part[0] : Native{};
      };
      lines[pair] = pairs_of(weight(j), weight(j + 1));
      const __m512 low = _mm512_castsi512_ps(_mm512_slli_epi32(lines[pair], 16));
      const __m512 high = _mm512_castsi512_ps(_mm512_and_si512(lines[pair], _mm512_set1_epi32(static_cast<int>(0xffff0000U))));
      total.part[0] = _mm512_add_ps(_mm512_add_ps(total.part[0], low), high);
    }
    transpose(lines);
    __builtin_memcpy(weights + half * kTileBytes, lines, sizeof lines);
  }
  group.total = group.total * correction + total;
  group.top = top;
  return correction;
}

inline void add_values(const KeyBlock& block, const char* weights, const float* correction, std::int64_t num_tiles,
                       QueryGroup& group) {
  for (std::int64_t d = 0; d < 2 * num_tiles; d += 2) {
    for (std::int64_t r = 0; r < kQueries; ++r) {
      const Vec c = broadcast(correction[r]);
      store(load(group.o[d] + r * kLanes) * c, group.o[d] + r * kLanes);
      store(load(group.o[d + 1] + r * kLanes) * c, group.o[d + 1] + r * kLanes);
    }
    tile_load<0>(reinterpret_cast<const char*>(group.o[d]));
    tile_load<1>(reinterpret_cast<const char*>(group.o[d + 1]));
    for (std::int64_t half = 0; half < 2; ++half) {
      const char* v = block.v + (half * num_tiles * 2 + d) * kTileBytes;
      tile_load<4>(weights + half * kTileBytes);
      tile_load<6>(v);
      tile_dot<0, 4, 6>();
      tile_load<7>(v + kTileBytes);
      tile_dot<1, 4, 7>();
    }
    tile_store<0>(group.o[d]);
    tile_store<1>(group.o[d + 1]);
  }
}

inline void write_out(const AttentionProblem& a, std::int64_t first, const QueryGroup& group) {
  float total[kLanes];
  store(group.total, total);
  for (std::int64_t r = 0; r < kQueries && first + r < a.rows; ++r) {
    for (std::int64_t d = 0; d < a.head_dim; d += kLanes) {
      const std::int64_t count = a.head_dim - d < kLanes ? a.head_dim - d : kLanes;
      const Vec o = rounded(load(group.o[d / kLanes] + r * kLanes) / broadcast(total[r]), a.precision);
      store_some(o, a.out + (first + r) * a.q_stride + d, count);
    }
  }
}

void attend_tiles(const AttentionProblem& a) {
  if (a.precision != Precision::kBfloat16 || a.head_dim > kMaxHeadDim) {
    return attend(a);
  }
  const TileScope tiles;
  const std::int64_t num_tiles = up_to(a.head_dim, 32);
  KeyBlock block;
  QueryGroup groups[kGroupsAtOnce];
  for (std::int64_t first = 0; first < a.rows; first += kGroupsAtOnce * kQueries) {
    const std::int64_t left = up_to(a.rows - first, kQueries);
    const std::int64_t num_groups = left < kGroupsAtOnce ? left : kGroupsAtOnce;
    for (std::int64_t g = 0; g < num_groups; ++g) {
      load_queries(a, first + g * kQueries, groups[g]);
    }
    for (std::int64_t begin = 0; begin < a.num_keys; begin += kKeyBlock) {
      if (a.k != nullptr) {
        load_block(a, a.k, a.v, begin, block);
      } else {
        load_block(a, a.k16, a.v16, begin, block);
      }
      for (std::int64_t g = 0; g < num_groups; ++g) {
        alignas(64) float scores[kKeyBlock * kLanes];
        alignas(64) char weights[2 * kTileBytes];
        float correction[kLanes];
        score(block, groups[g], num_tiles, scores);
        store(weigh(scores, block.count, a.scale, groups[g], weights), correction);
        add_values(block, weights, correction, num_tiles, groups[g]);
      }
    }
    for (std::int64_t g = 0; g < num_groups; ++g) {
      write_out(a, first + g * kQueries, groups[g]);
    }
  }
}
