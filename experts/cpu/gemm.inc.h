// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by each kernel family.
//
// The plain matrix product: a register tile of R rows x N outputs walks along k, so that each weight vector is widened once
// for R rows. An output's sum has the same shape whatever R and N are (see vec.inc.h): rows never depend on their neighbours.

template <std::int64_t R, std::int64_t N>
inline void gemm_tile(const GemmProblem& g, std::int64_t row, std::int64_t n) {
  Vec acc[size(R)][size(N)];
  for (auto& line : acc) {
    for (auto& a : line) {
      a = broadcast(0.0F);
    }
  }
  const float* x = g.x + row * g.x_stride;
  const bfloat16* w = g.w + n * g.k;
  const auto step = [&](auto load_x, auto load_w, std::int64_t k) {
    Vec weights[size(N)];
    for (std::int64_t j = 0; j < N; ++j) {
      weights[j] = load_w(w + j * g.k + k);
    }
    for (std::int64_t i = 0; i < R; ++i) {
      const Vec values = load_x(x + i * g.x_stride + k);
      for (std::int64_t j = 0; j < N; ++j) {
        acc[i][j] = madd(values, weights[j], acc[i][j]);
      }
    }
  };
  std::int64_t k = 0;
  for (; k + kLanes <= g.k; k += kLanes) {
    step([](const float* p) { return load(p); }, [](const bfloat16* p) { return load(p); }, k);
  }
  if (const std::int64_t rest = g.k - k; rest > 0) {
    step([=](const float* p) { return load_some(p, rest); }, [=](const bfloat16* p) { return load_some(p, rest); }, k);
  }
  for (std::int64_t i = 0; i < R; ++i) {
    for (std::int64_t j = 0; j < N; ++j) {
      g.y[(row + i) * g.y_stride + n + j] = sum(acc[i][j]);
    }
  }
}

template <std::int64_t N>
inline void gemm_rows(const GemmProblem& g, std::int64_t row_begin, std::int64_t row_end, std::int64_t n) {
  std::int64_t row = row_begin;
  for (; row + kGemmRows <= row_end; row += kGemmRows) {
    gemm_tile<kGemmRows, N>(g, row, n);
  }
  for (; row < row_end; ++row) {
    gemm_tile<1, N>(g, row, n);
  }
}

void gemm(const GemmProblem& g) {
  // Rows in pieces whose values stay in the second-level cache while the weights pass by.
  const std::int64_t piece = std::max<std::int64_t>(kGemmRows, (std::int64_t{1} << 18) / std::max<std::int64_t>(1, g.k));
  for (std::int64_t row = 0; row < g.rows; row += piece) {
    const std::int64_t row_end = std::min(g.rows, row + piece);
    std::int64_t n = g.n_begin;
    for (; n + kGemmOutputs <= g.n_end; n += kGemmOutputs) {
      gemm_rows<kGemmOutputs>(g, row, row_end, n);
    }
    for (; n < g.n_end; ++n) {
      gemm_rows<1>(g, row, row_end, n);
    }
  }
}
