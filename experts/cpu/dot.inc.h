// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by avx512bf16.cpp: the matrix product of inputs that are rounded to bfloat16.
//
// One instruction adds 32 products to 16 sums: lane j holds the terms of k = 2 j, 2 j + 1, then those of 32 further on. As in
// gemm.inc.h the shape of an output's sum hangs on k alone: rows never depend on their neighbours.

constexpr std::int64_t kPairs = 32;              // inputs of one instruction
constexpr std::int64_t kScratch = 32768;         // rounded inputs of some rows, on the stack

inline __m512bh round_pairs(const float* x, std::int64_t count) {
  const std::uint32_t mask = count >= kPairs ? 0xffffffffU : (1U << count) - 1;
  const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x);
  const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + 16);
  return _mm512_cvtne2ps_pbh(high, low);
}

inline __m512bh load_pairs(const bfloat16* w, std::int64_t count) {
  const __mmask32 mask = count >= kPairs ? 0xffffffffU : (1U << count) - 1;
  const __m512i bits = _mm512_maskz_loadu_epi16(mask, w);
  __m512bh pairs;
  __builtin_memcpy(&pairs, &bits, sizeof pairs);
  return pairs;
}

/// Rows of inputs as they come, rounded each time.
struct WideRows {
  const float* x;
  std::int64_t stride;
  __m512bh load(std::int64_t row, std::int64_t k, std::int64_t count) const { return round_pairs(x + row * stride + k, count); }
};

/// Rows that were rounded before, padded with zeros.
struct RoundedRows {
  const bfloat16* x;
  std::int64_t stride;
  __m512bh load(std::int64_t row, std::int64_t k, std::int64_t) const { return load_pairs(x + row * stride + k, kPairs); }
};

template <std::int64_t R, std::int64_t N, class Rows>
inline void dot_tile(const GemmProblem& g, const Rows& rows, std::int64_t row, std::int64_t n, float* y) {
  __m512 acc[size(R)][size(N)];
  for (auto& line : acc) {
    for (auto& a : line) {
      a = _mm512_setzero_ps();
    }
  }
  for (std::int64_t k = 0; k < g.k; k += kPairs) {
    __m512bh weights[size(N)];
    for (std::int64_t j = 0; j < N; ++j) {
      weights[j] = load_pairs(g.w + (n + j) * g.k + k, g.k - k);
    }
    for (std::int64_t i = 0; i < R; ++i) {
      const __m512bh values = rows.load(row + i, k, g.k - k);
      for (std::int64_t j = 0; j < N; ++j) {
        acc[i][j] = _mm512_dpbf16_ps(acc[i][j], values, weights[j]);
      }
    }
  }
  for (std::int64_t i = 0; i < R; ++i) {
    for (std::int64_t j = 0; j < N; ++j) {
      Vec v;
      v.part[0] = acc[i][j];
      y[(row + i) * g.y_stride + n + j] = sum(v);
    }
  }
}

template <std::int64_t N, class Rows>
inline void dot_rows(const GemmProblem& g, const Rows& rows, std::int64_t num_rows, std::int64_t n, float* y) {
  std::int64_t row = 0;
  for (; row + kGemmRows <= num_rows; row += kGemmRows) {
    dot_tile<kGemmRows, N>(g, rows, row, n, y);
  }
  for (; row < num_rows; ++row) {
    dot_tile<1, N>(g, rows, row, n, y);
  }
}

template <class Rows>
inline void dot_outputs(const GemmProblem& g, const Rows& rows, std::int64_t num_rows, float* y) {
  std::int64_t n = g.n_begin;
  for (; n + kGemmOutputs <= g.n_end; n += kGemmOutputs) {
    dot_rows<kGemmOutputs>(g, rows, num_rows, n, y);
  }
  for (; n < g.n_end; ++n) {
    dot_rows<1>(g, rows, num_rows, n, y);
  }
}

void gemm_dot(const GemmProblem& g) {
  if (g.precision != Precision::kBfloat16) {
    return gemm(g);
  }
  const std::int64_t stride = (g.k + kPairs - 1) / kPairs * kPairs;
  if (stride == 0 || stride > kScratch) {
    return dot_outputs(g, WideRows{g.x, g.x_stride}, g.rows, g.y);
  }
  alignas(64) bfloat16 scratch[size(kScratch)];
  const std::int64_t at_once = kScratch / stride;
  for (std::int64_t first = 0; first < g.rows; first += at_once) {
    const std::int64_t count = g.rows - first < at_once ? g.rows - first : at_once;
    for (std::int64_t r = 0; r < count; ++r) {
      for (std::int64_t k = 0; k < g.k; k += kPairs) {
        const __m512bh pairs = round_pairs(g.x + (first + r) * g.x_stride + k, g.k - k);
        __builtin_memcpy(static_cast<void*>(scratch + r * stride + k), &pairs, sizeof pairs);
      }
    }
    dot_outputs(g, RoundedRows{scratch, stride}, count, g.y + first * g.y_stride);
  }
}
