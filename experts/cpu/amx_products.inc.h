// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by amx.cpp: where the panels of each product lie, and what becomes of its sums.

inline std::int64_t panel_bytes(std::int64_t k) { return up_to(k, 32) * kTileBytes; }
inline const char* bytes_of(const bfloat16* p) { return reinterpret_cast<const char*>(p); }

/// Panels of one matrix.
struct OneMatrix {
  const char* w;
  const char* next;  ///< or null
  std::int64_t stride;
  std::int64_t num_streams;

  template <std::size_t N>
  void operator()(std::int64_t group, const char* (&p)[N]) const {
    const std::int64_t first = group * static_cast<std::int64_t>(N);
    const std::int64_t last = num_streams - 1;  // a group that is not full takes its last panel again
    for (std::size_t n = 0; n < N; ++n) {
      const auto i = static_cast<std::int64_t>(n);
      p[n] = first < num_streams || next == nullptr ? w + (first + i < last ? first + i : last) * stride : next + i * stride;
    }
  }
};

/// Panels of gate and up in turn.
struct TwoMatrices {
  const char *gate, *up;
  const char *next_gate, *next_up;
  std::int64_t stride;
  std::int64_t num_streams;

  template <std::size_t N>
  void operator()(std::int64_t group, const char* (&p)[N]) const {
    const char* pair[N / 2];
    const char* const next[2] = {next_gate, next_up};
    const char* const now[2] = {gate, up};
    for (std::size_t side = 0; side < 2; ++side) {
      OneMatrix{now[side], next[side], stride, num_streams / 2}(group, pair);
      for (std::size_t n = 0; n < N / 2; ++n) {
        p[2 * n + side] = pair[n];
      }
    }
  }
};

/// Where a line of 16 sums lies: which of the sums, and in the result.
struct Line {
  std::size_t square;
  std::int64_t in_square;
  std::int64_t row, output;
  __mmask16 mask;  ///< none: past the end
};

template <std::size_t N>
inline Line find_line(const PanelWalk& w, const Place& place, std::int64_t number, std::int64_t num_outputs) {
  constexpr auto kSquares = static_cast<std::int64_t>(N);
  const std::int64_t square = number / kLanes;
  Line line{.square = static_cast<std::size_t>(square),
            .in_square = number % kLanes,
            .row = (place.block + square / kSquares) * kBlockRows + number % kLanes,
            .output = (place.group * kSquares + square % kSquares) * kLanes,
            .mask = 0};
  const std::int64_t left = line.row < w.rows ? num_outputs - line.output : 0;
  line.mask = static_cast<__mmask16>(left >= kLanes ? 0xffff : left <= 0 ? 0 : (1 << left) - 1);
  return line;
}
inline __m512 sums_of(const Line& line, const Sums& sums) {
  return _mm512_load_ps(sums.square[line.square] + line.in_square * kLanes);
}

struct StoreSums {
  static constexpr std::int64_t kSquaresPerLine = 1;
  const PanelGemmProblem& g;
  template <std::size_t N>
  void take(const Place& place, std::int64_t number, const Sums& sums) const {
    const Line line = find_line<N>(g.walk, place, number, g.num_outputs);
    if (line.mask != 0) {
      _mm512_mask_storeu_ps(g.y + line.row * g.y_stride + line.output, line.mask, sums_of(line, sums));
    }
  }
  template <std::size_t N>
  void expect(const Place& place, std::int64_t number) const {
    const Line line = find_line<N>(g.walk, place, number, g.num_outputs);
    if (line.mask != 0) {
      _mm_prefetch(g.y + line.row * g.y_stride + line.output, _MM_HINT_T0);
    }
  }
};

struct AddSums {
  static constexpr std::int64_t kSquaresPerLine = 1;
  const PanelAddProblem& g;
  template <std::size_t N>
  void take(const Place& place, std::int64_t number, const Sums& sums) const {
    const Line line = find_line<N>(g.walk, place, number, g.num_outputs);
    if (line.mask != 0) {
      float* slot = slot_of(line);
      const __m512 weight = _mm512_set1_ps(g.picked[line.row].weight);
      const __m512 product = _mm512_mul_ps(weight, sums_of(line, sums));  // rounded, as add_weighted does
      _mm512_mask_storeu_ps(slot, line.mask, _mm512_add_ps(_mm512_maskz_loadu_ps(line.mask, slot), product));
    }
  }
  template <std::size_t N>
  void expect(const Place& place, std::int64_t number) const {
    const Line line = find_line<N>(g.walk, place, number, g.num_outputs);
    if (line.mask != 0) {
      _mm_prefetch(slot_of(line), _MM_HINT_T0);
    }
  }
  float* slot_of(const Line& line) const { return g.slots + g.picked[line.row].slot * g.slots_stride + line.output; }
};

/// Lines of gate and up together: their squares lie side by side.
struct ActivateSums {
  static constexpr std::int64_t kSquaresPerLine = 2;
  const PanelGateUpProblem& g;
  template <std::size_t N>
  void take(const Place& place, std::int64_t number, const Sums& sums) const {
    constexpr auto kPairs = static_cast<std::int64_t>(N / 2);
    const std::int64_t pair = number / kLanes;
    const std::int64_t r = number % kLanes;
    const std::int64_t panel = place.group * kPairs + pair % kPairs;
    if (panel >= g.walk.num_panels) {
      return;
    }
    const std::int64_t at = g.first_panel + panel;
    char* tile = reinterpret_cast<char*>(g.h) + ((place.block + pair / kPairs) * up_to(g.width, 32) + at / 2) * kTileBytes;
    char* half_line = tile + r * kLineBytes + at % 2 * 32;
    const float* gate = sums.square[2 * pair] + r * kLanes;
    activate(gate, gate + 256, half_line);
    if (at % 2 == 0 && (at + 1) * kLanes >= g.width) {  // the last tile is only half full
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(half_line + 32), _mm256_setzero_si256());
    }
  }
  template <std::size_t N>
  void expect(const Place&, std::int64_t) const {}
  static void activate(const float* gate, const float* up, char* half_line) {
    const Vec one = broadcast(1.0F);
    const Vec zero = broadcast(0.0F);
    const Vec x = load(gate);
    const Vec h = x / (one + exponential(zero - x)) * load(up);
    const __m256bh rounded_h = _mm512_cvtneps_pbh(h.part[0]);
    __builtin_memcpy(half_line, &rounded_h, sizeof rounded_h);
  }
};

void panel_gemm(const PanelGemmProblem& g) {
  walk(g.walk, OneMatrix{bytes_of(g.w), bytes_of(g.next_w), panel_bytes(g.walk.k), g.walk.num_panels}, StoreSums{g});
}

void panel_add_down(const PanelAddProblem& g) {
  walk(g.walk, OneMatrix{bytes_of(g.w), bytes_of(g.next_w), panel_bytes(g.walk.k), g.walk.num_panels}, AddSums{g});
}

void panel_gate_up(const PanelGateUpProblem& g) {
  walk(g.walk,
       TwoMatrices{bytes_of(g.gate), bytes_of(g.up), bytes_of(g.next_gate), bytes_of(g.next_up), panel_bytes(g.walk.k),
                   2 * g.walk.num_panels},
       ActivateSums{g});
}

void tile_rows(const RowTilesProblem& t) {
  const std::int64_t num_tiles = up_to(t.k, 32);
  for (std::int64_t r = 0; r < up_to(t.rows, kBlockRows) * kBlockRows; ++r) {
    char* line = reinterpret_cast<char*>(t.tiles) + (r / kBlockRows * num_tiles * kBlockRows + r % kBlockRows) * kLineBytes;
    const float* x = r < t.rows ? t.x + (t.picked != nullptr ? t.picked[r].row : r) * t.x_stride : nullptr;
    for (std::int64_t tile = 0; tile < num_tiles; ++tile) {
      __m512 low = _mm512_setzero_ps();
      __m512 high = low;
      if (x != nullptr) {
        const std::int64_t left = t.k - tile * 32;
        const auto mask = static_cast<std::uint32_t>(left >= 32 ? 0xffffffffU : (1U << left) - 1);
        low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x + tile * 32);
        high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + tile * 32 + kLanes);
      }
      const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
      __builtin_memcpy(line + tile * kTileBytes, &both, sizeof both);
    }
  }
}
