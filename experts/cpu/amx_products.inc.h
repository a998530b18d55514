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

/// Calls line(row, first output, mask, 16 sums) for each row of each square that holds something.
template <std::size_t N, class Line>
inline void for_lines(const PanelWalk& w, std::int64_t group, std::int64_t block, std::int64_t num_blocks, std::int64_t num_outputs,
                      const Sums& sums, const Line& line) {
  for (std::int64_t b = 0; b < num_blocks; ++b) {
    const std::int64_t first_row = (block + b) * kBlockRows;
    const std::int64_t num_rows = w.rows - first_row < kBlockRows ? w.rows - first_row : kBlockRows;
    for (std::size_t n = 0; n < N; ++n) {
      const std::int64_t output = (group * static_cast<std::int64_t>(N) + static_cast<std::int64_t>(n)) * kLanes;
      const std::int64_t left = num_outputs - output;
      if (left > 0) {
        const auto mask = static_cast<__mmask16>(left >= kLanes ? 0xffff : (1 << left) - 1);
        for (std::int64_t r = 0; r < num_rows; ++r) {
          line(first_row + r, output, mask, _mm512_load_ps(sums.square[static_cast<std::size_t>(b) * N + n] + r * kLanes));
        }
      }
    }
  }
}

struct StoreSums {
  const PanelGemmProblem& g;
  template <std::size_t N>
  void take(std::int64_t group, std::int64_t block, std::int64_t num_blocks, const Sums& sums) const {
    for_lines<N>(g.walk, group, block, num_blocks, g.num_outputs, sums,
                 [&](std::int64_t row, std::int64_t output, __mmask16 mask, __m512 sum16) {
                   _mm512_mask_storeu_ps(g.y + row * g.y_stride + output, mask, sum16);
                 });
  }
};

struct AddSums {
  const PanelAddProblem& g;
  template <std::size_t N>
  void take(std::int64_t group, std::int64_t block, std::int64_t num_blocks, const Sums& sums) const {
    for_lines<N>(g.walk, group, block, num_blocks, g.num_outputs, sums,
                 [&](std::int64_t row, std::int64_t output, __mmask16 mask, __m512 sum16) {
                   const cluster::Assignment& a = g.picked[row];
                   float* slot = g.slots + a.slot * g.slots_stride + output;
                   const __m512 product = _mm512_mul_ps(_mm512_set1_ps(a.weight), sum16);  // rounded, as add_weighted does
                   _mm512_mask_storeu_ps(slot, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, slot), product));
                 });
  }
};

struct ActivateSums {
  const PanelGateUpProblem& g;
  template <std::size_t N>
  void take(std::int64_t group, std::int64_t block, std::int64_t num_blocks, const Sums& sums) const {
    const std::int64_t num_tiles = up_to(g.width, 32);
    for (std::int64_t b = 0; b < num_blocks; ++b) {
      for (std::size_t n = 0; n < N / 2; ++n) {
        const std::int64_t panel = group * static_cast<std::int64_t>(N / 2) + static_cast<std::int64_t>(n);
        if (panel < g.walk.num_panels) {
          const std::int64_t at = g.first_panel + panel;
          char* tile = reinterpret_cast<char*>(g.h) + ((block + b) * num_tiles + at / 2) * kTileBytes;
          activate(sums.square[static_cast<std::size_t>(b) * N + 2 * n], sums.square[static_cast<std::size_t>(b) * N + 2 * n + 1], tile + at % 2 * 32);
          if (at % 2 == 0 && (at + 1) * kLanes >= g.width) {  // the last tile is only half full
            for (std::int64_t r = 0; r < kBlockRows; ++r) {
              _mm256_storeu_si256(reinterpret_cast<__m256i*>(tile + 32 + r * kLineBytes), _mm256_setzero_si256());
            }
          }
        }
      }
    }
  }
  static void activate(const float* gate, const float* up, char* half_tile) {
    const Vec one = broadcast(1.0F);
    const Vec zero = broadcast(0.0F);
    for (std::int64_t r = 0; r < kBlockRows; ++r) {
      const Vec x = load(gate + r * kLanes);
      const Vec h = x / (one + exponential(zero - x)) * load(up + r * kLanes);
      const __m256bh rounded_h = _mm512_cvtneps_pbh(h.part[0]);
      __builtin_memcpy(half_tile + r * kLineBytes, &rounded_h, sizeof rounded_h);
    }
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
