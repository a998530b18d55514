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

/// Row `number` of a pass: which row of the product it is, and its sums, one line of 16 for each of the N panels.
template <std::size_t N>
struct PassRow {
  PassRow(const Place& place, std::int64_t number)
      : row(place.block * kBlockRows + number),
        first_panel(place.group * static_cast<std::int64_t>(N)),
        first_square_(static_cast<std::size_t>(number / kBlockRows) * N),
        in_square_(number % kBlockRows * kLanes) {}

  const float* line(const Sums& sums, std::size_t n) const { return sums.square[first_square_ + n] + in_square_; }

  std::int64_t row;
  std::int64_t first_panel;

 private:
  std::size_t first_square_;
  std::int64_t in_square_;
};

/// Which of the 16 outputs of a panel exist.
inline __mmask16 outputs_of(std::int64_t panel, std::int64_t num_outputs) {
  return static_cast<__mmask16>(mask_of(num_outputs - panel * kLanes));
}

/// Lines [0, N) from `at` on, asked for; those behind the last output are those of somebody else, and do no harm.
template <std::size_t N>
inline void expect_lines(const float* at) {
  for (std::size_t n = 0; n < N; ++n) {
    _mm_prefetch(at + n * kLanes, _MM_HINT_T0);
  }
}

struct StoreSums {
  const PanelGemmProblem& g;
  template <std::size_t N>
  void take(const Place& place, std::int64_t number, const Sums& sums) const {
    const PassRow<N> from(place, number);
    if (from.row >= g.walk.rows) {
      return;
    }
    float* to = g.y + from.row * g.y_stride + from.first_panel * kLanes;
    for (std::size_t n = 0; n < N; ++n) {
      const auto i = static_cast<std::int64_t>(n);
      _mm512_mask_storeu_ps(to + i * kLanes, outputs_of(from.first_panel + i, g.num_outputs), _mm512_load_ps(from.line(sums, n)));
    }
  }
  template <std::size_t N>
  void expect(const Place& place, std::int64_t number) const {
    const PassRow<N> at(place, number);
    if (at.row < g.walk.rows) {
      expect_lines<N>(g.y + at.row * g.y_stride + at.first_panel * kLanes);
    }
  }
};

struct AddSums {
  const PanelAddProblem& g;
  template <std::size_t N>
  void take(const Place& place, std::int64_t number, const Sums& sums) const {
    const PassRow<N> from(place, number);
    if (from.row >= g.walk.rows) {
      return;
    }
    const cluster::Assignment& a = g.picked[from.row];
    const __m512 weight = _mm512_set1_ps(a.weight);
    const auto is_old = static_cast<__mmask16>(g.begins != nullptr && g.begins[from.row] != 0 ? 0 : 0xffff);
    float* slot = slot_of(from);
    for (std::size_t n = 0; n < N; ++n) {
      const auto i = static_cast<std::int64_t>(n);
      const __mmask16 mask = outputs_of(from.first_panel + i, g.num_outputs);
      const __m512 product = _mm512_mul_ps(weight, _mm512_load_ps(from.line(sums, n)));  // rounded, as add_weighted does
      const __m512 before = _mm512_maskz_loadu_ps(_kand_mask16(mask, is_old), slot + i * kLanes);
      _mm512_mask_storeu_ps(slot + i * kLanes, mask, _mm512_add_ps(before, product));
    }
  }
  template <std::size_t N>
  void expect(const Place& place, std::int64_t number) const {
    const PassRow<N> at(place, number);
    if (at.row < g.walk.rows) {
      expect_lines<N>(slot_of(at));
    }
  }
  template <std::size_t N>
  float* slot_of(const PassRow<N>& at) const {
    return g.slots + g.picked[at.row].slot * g.slots_stride + at.first_panel * kLanes;
  }
};

/// Gate and up of a panel lie side by side: 16 values of h, half a line of its tile.
struct ActivateSums {
  const PanelGateUpProblem& g;
  template <std::size_t N>
  void take(const Place& place, std::int64_t number, const Sums& sums) const {
    const PassRow<N> from(place, number);
    const std::int64_t row_of_tiles = from.row / kBlockRows * up_to(g.width, 32);
    char* lines = reinterpret_cast<char*>(g.h) + row_of_tiles * kTileBytes + from.row % kBlockRows * kLineBytes;
    for (std::size_t n = 0; n < N; n += 2) {
      const std::int64_t panel = (from.first_panel + static_cast<std::int64_t>(n)) / 2;
      if (panel >= g.walk.num_panels) {
        return;
      }
      const std::int64_t at = g.first_panel + panel;
      char* half_line = lines + at / 2 * kTileBytes + at % 2 * 32;
      activate(from.line(sums, n), from.line(sums, n + 1), half_line);
      if (at % 2 == 0 && (at + 1) * kLanes >= g.width) {  // the last tile is only half full
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(half_line + 32), _mm256_setzero_si256());
      }
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
    const bool is_row = r < t.rows;  // rows past the end are zero
    const float* x = t.x + (!is_row ? 0 : t.picked != nullptr ? t.picked[r].row : r) * t.x_stride;
    for (std::int64_t tile = 0; tile < num_tiles; ++tile) {
      _mm512_storeu_si512(line + tile * kTileBytes, load_line(x, tile * 32, is_row ? t.k : 0));
    }
  }
}
