// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by amx.cpp: tile registers, and the innermost loop over k.
//
// Tile 0-3: sums of 16 rows x 16 outputs; 4, 5: inputs of 16 rows x 32 k; the others: weights of 16 pairs of k x 16 outputs.
// An output's sum takes its k in ascending order in one tile, whatever blocking is chosen: a row's result never depends on
// the rows beside it.

constexpr std::int64_t kTileBytes = 1024;
constexpr std::int64_t kLineBytes = 64;
constexpr std::int64_t kTileLines = kTileBytes / kLineBytes;
constexpr std::int64_t kTilesAhead = 8;  // enough to hide the memory's latency at its full speed

struct TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

/// Tile registers are in use from here to the end of the scope; then they are free again, so that switching threads is cheap.
class TileScope {
 public:
  TileScope() {
    const TileConfig config;
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  ~TileScope() { asm volatile("tilerelease"); }
  TileScope(const TileScope&) = delete;
  TileScope& operator=(const TileScope&) = delete;
};

template <int T>
inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(T));
}
template <int T>
inline void tile_load(const char* p) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(kLineBytes), "i"(T) : "memory");
}
/// From the second cache, past the first: a product of more than some hundred inputs wants 64 bytes of tiles per cycle, of which
/// the first cache keeps nothing until they come again. Measured from L2: 85 % of the peak, 73 % with tile_load.
template <int T>
inline void tile_stream(const char* p) {
  asm volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(kLineBytes), "i"(T) : "memory");
}
template <int T>
inline void tile_store(float* p) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(kLineBytes), "i"(T) : "memory");
}
/// Sum += Input * Weights.
template <int Sum, int Input, int Weights>
inline void tile_dot() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(Input), "i"(Weights));
}

/// The first `count` of 32 values: all where there are more, none where it is not positive.
inline __mmask32 mask_of(std::int64_t count) {
  return static_cast<__mmask32>(count >= 32 ? 0xffffffffU : count <= 0 ? 0U : (1U << count) - 1);
}

/// 32 values of a row from `at` on, of `count` that there are; the others zero.
inline __m512i load_line(const bfloat16* row, std::int64_t at, std::int64_t count) {
  return _mm512_maskz_loadu_epi16(mask_of(count - at), row + at);
}
inline __m512i load_line(const float* row, std::int64_t at, std::int64_t count) {
  const __mmask32 mask = mask_of(count - at);
  const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), row + at);
  const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), row + at + kLanes);
  const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
  __m512i bits;
  __builtin_memcpy(&bits, &both, sizeof bits);
  return bits;
}

/// Lines of the weights that come later, asked for while this tile is multiplied.
struct Ahead {
  const char* from;
  std::int64_t lines;         ///< per tile
  std::int64_t stream_bytes;  ///< each of a tile's lines belongs to another stream: the memory is fastest with many of them
};

/// Near: what this thread multiplies next, into the first cache. Far: a share of the next panels, into the second.
enum class Reach { kNear, kFar };

template <Reach kReach>
inline void prefetch(const Ahead& ahead, std::int64_t tile) {
  if constexpr (kReach == Reach::kNear) {
    for (std::int64_t line = 0; line < kTileLines; ++line) {
      _mm_prefetch(ahead.from + (tile * kTileLines + line) * kLineBytes, _MM_HINT_T0);
    }
  } else {
    for (std::int64_t line = 0; line < ahead.lines; ++line) {
      _mm_prefetch(ahead.from + line * ahead.stream_bytes + tile * kLineBytes, _MM_HINT_T1);
    }
  }
}

/// 16 rows times panel C of four.
template <int C, Reach kReach>
inline void multiply_column(const char* weights, const Ahead& ahead, std::int64_t tile) {
  constexpr int kWeights = C < 3 ? C + 5 : 7;
  tile_stream<kWeights>(weights + tile * kTileBytes);
  prefetch<kReach>(ahead, tile);
  tile_dot<C, 4, kWeights>();
}

/// 16 rows times N panels. `beside` does a little of something else for each tile: the tile unit leaves most of the processor
/// idle.
template <std::size_t N, Reach kReach, class Beside>
inline void multiply(const char* const (&x)[1], const char* const (&weights)[N], const Ahead (&ahead)[N], std::int64_t begin,
                     std::int64_t end, Beside& beside) {
  for (std::int64_t tile = begin; tile < end; ++tile) {
    tile_stream<4>(x[0] + tile * kTileBytes);
    multiply_column<0, kReach>(weights[0], ahead[0], tile);
    multiply_column<1, kReach>(weights[1], ahead[1], tile);
    if constexpr (N == 4) {
      multiply_column<2, kReach>(weights[2], ahead[2], tile);
      multiply_column<3, kReach>(weights[3], ahead[3], tile);
    }
    beside.step();
  }
}

/// 32 rows times two panels. A register is loaded anew as soon as its last product has begun, a tile before its next one: where
/// somebody else's thread shares the core, loads overlap with products only so far as nobody waits for them.
template <std::size_t N, Reach kReach, class Beside>
inline void multiply(const char* const (&x)[2], const char* const (&weights)[N], const Ahead (&ahead)[N], std::int64_t begin,
                     std::int64_t end, Beside& beside) {
  static_assert(N == 2);
  if (begin == end) {
    return;
  }
  tile_stream<4>(x[0] + begin * kTileBytes);
  tile_stream<6>(weights[0] + begin * kTileBytes);
  tile_stream<5>(x[1] + begin * kTileBytes);
  tile_stream<7>(weights[1] + begin * kTileBytes);
  for (std::int64_t tile = begin; tile < end; ++tile) {
    const std::int64_t next = (tile + 1 < end ? tile + 1 : tile) * kTileBytes;
    tile_dot<0, 4, 6>();
    prefetch<kReach>(ahead[0], tile);
    tile_dot<1, 4, 7>();
    tile_stream<4>(x[0] + next);
    beside.step();
    tile_dot<2, 5, 6>();
    tile_stream<6>(weights[0] + next);
    prefetch<kReach>(ahead[1], tile);
    tile_dot<3, 5, 7>();
    tile_stream<5>(x[1] + next);
    tile_stream<7>(weights[1] + next);
  }
}

inline void clear_sums() {
  tile_zero<0>();
  tile_zero<1>();
  tile_zero<2>();
  tile_zero<3>();
}

/// Sums as [R][N] squares of 16 x 16.
struct Sums {
  alignas(64) float square[4][256];
};

template <std::size_t R, std::size_t N>
inline void store_sums(Sums& sums) {
  tile_store<0>(sums.square[0]);
  tile_store<1>(sums.square[1]);
  if constexpr (R * N == 4) {
    tile_store<2>(sums.square[2]);
    tile_store<3>(sums.square[3]);
  }
}
