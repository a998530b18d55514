// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by amx.cpp: attention with tiles and a running softmax.
//
// Per block of 256 keys, counted from position 0, and for 32 queries at a time (16 at the end):
//
//   S [16 queries, 256 keys] = Q [16, dim] * K^T        P = 2^(S * scale * log2 e - top), bfloat16, where S was
//   O [16, dim] += P [16, 256] * V
//
// `top` follows the largest score only where that is more than 2^8 above: O is scaled again once or twice instead of with each
// block. All of it is a row's own affair. Weights are rounded before they are summed too: what the rounding does to the
// numerator it does to the divisor.

constexpr std::int64_t kMaxHeadDim = 256;
constexpr std::int64_t kKeysAtOnce = 256;
constexpr std::int64_t kKeyTilesAtOnce = kKeysAtOnce / kLanes;
constexpr float kMostAboveTop = 8;  // as a power of two

/// 16 queries on their way over the keys.
struct QueryGroup {
  alignas(64) char q[kMaxHeadDim / 32 * kTileBytes];
  alignas(64) float s[kKeyTilesAtOnce][256];    ///< [keys / 16][16 queries][16 keys]; weights of 32 keys in every second tile
  alignas(64) float o[kMaxHeadDim / 16][256];   ///< [dim / 16][16 queries][16]
  alignas(64) float total[16][16];              ///< [queries]: lanes to be added
  float top[16];                                ///< [queries], as a power of two
  std::int64_t rows;
};

inline void load_queries(const AttentionProblem& a, std::int64_t first, std::int64_t dim_tiles, QueryGroup& group) {
  group.rows = a.rows - first < kBlockRows ? a.rows - first : kBlockRows;
  for (std::int64_t tile = 0; tile < dim_tiles; ++tile) {
    for (std::int64_t r = 0; r < kBlockRows; ++r) {
      const std::int64_t dims = r < group.rows ? a.head_dim : 0;
      _mm512_store_si512(group.q + tile * kTileBytes + r * kLineBytes, load_line(a.q + (dims > 0 ? first + r : 0) * a.q_stride, tile * 32, dims));
    }
  }
  __builtin_memset(group.o, 0, static_cast<std::size_t>(2 * dim_tiles) * sizeof group.o[0]);
  __builtin_memset(group.total, 0, sizeof group.total);
  for (float& top : group.top) {
    top = -__builtin_inff();
  }
}

/// Scores of R groups for two tiles of keys.
template <std::size_t R>
inline void score(const char* keys, std::int64_t dim_tiles, std::int64_t at, QueryGroup* groups) {
  clear_sums();
  for (std::int64_t tile = 0; tile < dim_tiles; ++tile) {
    tile_stream<6>(keys + tile * kTileBytes);
    tile_load<4>(groups[0].q + tile * kTileBytes);
    tile_dot<0, 4, 6>();
    tile_stream<7>(keys + (dim_tiles + tile) * kTileBytes);
    tile_dot<1, 4, 7>();
    if constexpr (R == 2) {
      tile_load<5>(groups[1].q + tile * kTileBytes);
      tile_dot<2, 5, 6>();
      tile_dot<3, 5, 7>();
    }
  }
  tile_store<0>(groups[0].s[at]);
  tile_store<1>(groups[0].s[at + 1]);
  if constexpr (R == 2) {
    tile_store<2>(groups[1].s[at]);
    tile_store<3>(groups[1].s[at + 1]);
  }
}

/// 2^x for x <= 0 or little more, to within 3e-6 (a weight keeps 8 bits), 2^-126 for all that is less; NaN stays. 2^f on [0, 1)
/// by the polynomial of degree 4 with the least relative error.
inline __m512 power_of_two(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-126.0F), x);  // the second where one is not a number
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_set1_ps(1.35341720e-2F);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.20114646e-2F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.41442745e-1F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93003840e-1F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.00000259F));
  return _mm512_scalef_ps(p, x);
}

/// Brings what was gathered for a query to another top.
inline void move_top(QueryGroup& group, std::int64_t row, float top, std::int64_t dim_tiles) {
  const __m512 correction = power_of_two(_mm512_set1_ps(group.top[row] - top));
  for (std::int64_t d = 0; d < 2 * dim_tiles; ++d) {
    float* o = group.o[d] + row * kLanes;
    _mm512_store_ps(o, _mm512_mul_ps(_mm512_load_ps(o), correction));
  }
  _mm512_store_ps(group.total[row], _mm512_mul_ps(_mm512_load_ps(group.total[row]), correction));
  group.top[row] = top;
}

/// Scores of `count` keys to weights, and to zero up to a multiple of 32.
inline void weigh(QueryGroup& group, std::int64_t count, float factor, std::int64_t dim_tiles) {
  const std::int64_t num_pairs = up_to(count, kKeysPerPair);
  const __m512 none = _mm512_set1_ps(-__builtin_inff());
  const __mmask32 last = mask_of(count - (num_pairs - 1) * kKeysPerPair);
  const __m512bh ones = _mm512_cvtne2ps_pbh(_mm512_set1_ps(1.0F), _mm512_set1_ps(1.0F));
  for (std::int64_t row = 0; row < group.rows; ++row) {
    float* s = group.s[0] + row * kLanes;
    __m512 most = none, most_high = none;
    for (std::int64_t pair = 0; pair + 1 < num_pairs; ++pair) {
      most = _mm512_max_ps(_mm512_load_ps(s + pair * 512), most);
      most_high = _mm512_max_ps(_mm512_load_ps(s + pair * 512 + 256), most_high);
    }
    float* end = s + (num_pairs - 1) * 512;
    most = _mm512_mask_max_ps(most, static_cast<__mmask16>(last), _mm512_load_ps(end), most);
    most = _mm512_mask_max_ps(most, static_cast<__mmask16>(last >> 16), _mm512_load_ps(end + 256), most);
    const float top = _mm512_reduce_max_ps(_mm512_max_ps(most, most_high)) * factor;
    if (top > group.top[row] + kMostAboveTop || group.top[row] == -__builtin_inff()) {
      move_top(group, row, top, dim_tiles);
    }
    const __m512 scale = _mm512_set1_ps(factor);
    const __m512 shift = _mm512_set1_ps(group.top[row]);
    __m512 total = _mm512_load_ps(group.total[row]);
    for (std::int64_t pair = 0; pair < num_pairs; ++pair) {
      float* at = s + pair * 512;
      const __m512 low = power_of_two(_mm512_fmsub_ps(_mm512_load_ps(at), scale, shift));
      const __m512 high = power_of_two(_mm512_fmsub_ps(_mm512_load_ps(at + 256), scale, shift));
      const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
      __m512i bits;
      __builtin_memcpy(&bits, &both, sizeof bits);
      bits = _mm512_maskz_mov_epi16(pair + 1 < num_pairs ? 0xffffffffU : last, bits);
      _mm512_store_si512(at, bits);
      __m512bh weights;
      __builtin_memcpy(&weights, &bits, sizeof weights);
      total = _mm512_dpbf16_ps(total, weights, ones);
    }
    _mm512_store_ps(group.total[row], total);
  }
}

/// O += P * V of R groups and the values of `num_pairs` tiles.
template <std::size_t R>
inline void add_values(const char* values, std::int64_t num_pairs, std::int64_t dim_tiles, QueryGroup* groups) {
  for (std::int64_t d = 0; d < 2 * dim_tiles; d += 2) {
    tile_load<0>(reinterpret_cast<const char*>(groups[0].o[d]));
    tile_load<1>(reinterpret_cast<const char*>(groups[0].o[d + 1]));
    if constexpr (R == 2) {
      tile_load<2>(reinterpret_cast<const char*>(groups[1].o[d]));
      tile_load<3>(reinterpret_cast<const char*>(groups[1].o[d + 1]));
    }
    for (std::int64_t pair = 0; pair < num_pairs; ++pair) {
      const char* v = values + (pair * 2 * dim_tiles + d) * kTileBytes;
      tile_stream<6>(v);
      tile_load<4>(reinterpret_cast<const char*>(groups[0].s[2 * pair]));
      tile_dot<0, 4, 6>();
      tile_stream<7>(v + kTileBytes);
      tile_dot<1, 4, 7>();
      if constexpr (R == 2) {
        tile_load<5>(reinterpret_cast<const char*>(groups[1].s[2 * pair]));
        tile_dot<2, 5, 6>();
        tile_dot<3, 5, 7>();
      }
    }
    tile_store<0>(groups[0].o[d]);
    tile_store<1>(groups[0].o[d + 1]);
    if constexpr (R == 2) {
      tile_store<2>(groups[1].o[d]);
      tile_store<3>(groups[1].o[d + 1]);
    }
  }
}

inline void write_out(const AttentionProblem& a, std::int64_t first, const QueryGroup& group) {
  for (std::int64_t r = 0; r < group.rows; ++r) {
    const Vec total = broadcast(sum(load(group.total[r])));
    for (std::int64_t d = 0; d < a.head_dim; d += kLanes) {
      const Vec o = rounded(load(group.o[d / kLanes] + r * kLanes) / total, a.precision);
      float* out = a.out + (first + r) * a.out_stride + d;
      _mm512_mask_storeu_ps(out, static_cast<__mmask16>(mask_of(a.head_dim - d)), o.part[0]);
    }
  }
}

template <std::size_t R>
inline void attend_groups(const AttentionProblem& a, const PackedKeys& keys, std::int64_t first, QueryGroup* groups) {
  const float factor = a.scale * 1.44269504F;
  for (std::size_t g = 0; g < R; ++g) {
    load_queries(a, first + static_cast<std::int64_t>(g) * kBlockRows, keys.dim_tiles, groups[g]);
  }
  for (std::int64_t begin = 0; begin < a.num_keys; begin += kKeysAtOnce) {
    const std::int64_t count = a.num_keys - begin < kKeysAtOnce ? a.num_keys - begin : kKeysAtOnce;
    const std::int64_t num_pairs = up_to(count, kKeysPerPair);
    for (std::int64_t pair = 0; pair < num_pairs; ++pair) {
      score<R>(keys.key_tiles(begin / kLanes + 2 * pair), keys.dim_tiles, 2 * pair, groups);
    }
    for (std::size_t g = 0; g < R; ++g) {
      weigh(groups[g], count, factor, keys.dim_tiles);
    }
    add_values<R>(keys.value_tiles(begin / kKeysPerPair), num_pairs, keys.dim_tiles, groups);
  }
  for (std::size_t g = 0; g < R; ++g) {
    write_out(a, first + static_cast<std::int64_t>(g) * kBlockRows, groups[g]);
  }
}

void attend_tiles(const AttentionProblem& a) {
  if (a.precision != Precision::kBfloat16 || a.head_dim > kMaxHeadDim) {
    return attend(a);
  }
  const TileScope tiles;
  const PackedKeys keys = pack(a);
  QueryGroup groups[2];
  for (std::int64_t first = 0; first < a.rows; first += 2 * kBlockRows) {
    if (a.rows - first > kBlockRows) {
      attend_groups<2>(a, keys, first, groups);
    } else {
      attend_groups<1>(a, keys, first, groups);
    }
  }
}
