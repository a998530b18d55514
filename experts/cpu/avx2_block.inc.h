// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by avx2.cpp: a register block of the matrix product.
//
//   acc [rows][16 outputs] += x[row][k] * w[k][16 outputs], k by k
//
// Lanes are outputs: an input is broadcast to all of them, a weight vector is widened once for all rows of the block. An output's
// sum takes its k in ascending order in one lane, one fused multiply-add each, in partial sums of Weights::kStepsPerSum steps,
// whatever blocking is chosen: a row's result never depends on the rows beside it.

constexpr int kMostRows = 6;         // x 2 registers of sums; two more of weights, one of inputs
constexpr int kTileInputs = 32;
constexpr std::int64_t kPlainSteps = 8;  // of a partial sum: 256 inputs. Rounding errors of long sums stay those of short ones
constexpr std::int64_t kLineBytes = 64;

/// All lanes the same, without the addition of a zero that broadcast() makes.
inline Vec spread(const float* x) {
  const Native v = _mm256_broadcast_ss(x);
  return {{v, v}};
}

/// sum += x * w. Written as instructions: left to itself, GCC 12 collects inputs and weights ahead of their use, more of them than
/// there are registers, and keeps sums on the stack (half the speed).
inline void add_products(const float* x, const Vec& w, Vec& sum) {
  Native v;
  asm volatile("vbroadcastss %3, %2\n\tvfmadd231ps %4, %2, %0\n\tvfmadd231ps %5, %2, %1"
               : "+x"(sum.part[0]), "+x"(sum.part[1]), "=&x"(v)
               : "m"(*x), "x"(w.part[0]), "x"(w.part[1]));
}

/// The rows of a block, each on its way along k; `kStride` floats from one input to the next.
template <int R, int kStride>
struct BlockRows {
  const float* at[size(R)];
  std::int64_t step;  ///< floats from the first input of a step to that of the next

  const float* get(int row, int k) const { return at[row] + k * kStride; }
  void next() {
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      at[r] += step;
    }
  }
};

/// Sums of N streams of weights with R rows.
template <int R, int N>
struct BlockSums {
  Vec of[size(N)][size(R)];

  void clear() {
    for (auto& stream : of) {
      for (auto& sum : stream) {
        sum = {};
      }
    }
  }
};

/// sums += the products of `num_steps` steps of kStep inputs, Weights::kStepsPerSum at a time, between begin_sum() and add_to().
/// Weights::get(k) gives those of input k of a step; Beside::step() may ask for memory.
template <int kStep, int R, int N, class Rows, class Weights, class Beside>
[[gnu::always_inline]] inline void multiply_block(Rows rows, Weights (&weights)[size(N)], std::int64_t num_steps, Beside& beside, BlockSums<R, N>& sums) {
  for (std::int64_t begin = 0; begin < num_steps; begin += Weights::kStepsPerSum) {
    const std::int64_t end = begin + Weights::kStepsPerSum < num_steps ? begin + Weights::kStepsPerSum : num_steps;
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) {
      weights[n].begin_sum();
    }
    Vec acc[size(N)][size(R)];
#pragma GCC unroll 12
    for (int i = 0; i < N * R; ++i) {
      acc[i / R][i % R] = {};
    }
    for (std::int64_t step = begin; step < end; ++step) {
      beside.step();
#pragma GCC unroll 32
      for (int k = 0; k < kStep; ++k) {
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) {
          const Vec w = weights[n].get(k);
#pragma GCC unroll 6
          for (int r = 0; r < R; ++r) {
            add_products(rows.get(r, k), w, acc[n][r]);
          }
        }
      }
      rows.next();
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) {
        weights[n].next();
      }
    }
#pragma GCC unroll 12
    for (int i = 0; i < N * R; ++i) {
      weights[i / R].add_to(sums.of[i / R][i % R], acc[i / R][i % R]);
    }
  }
}

/// Weights that are multiplied as they are.
struct Plain {
  static constexpr std::int64_t kStepsPerSum = kPlainSteps;

  void begin_sum() {}
  static void add_to(Vec& total, const Vec& sum) { total = total + sum; }
};

/// Nothing to do beside a product.
struct Nothing {
  void step() {}
};

/// Weights of a panel in bfloat16 (Layout::kPanels): a line holds two inputs of 16 outputs, the first in the lower halves.
struct NarrowWeights : Plain {
  static constexpr int kRowsOfTwo = 3;  ///< blocks of so many rows and fewer take two streams at once, so that sums hide their latency
  static constexpr std::int64_t kTileBytes = 1024;
  const char* at;

  explicit NarrowWeights(const char* panel) : at(panel) {}
  Vec get(int k) const {
    Vec w;
    for (int p = 0; p < kParts; ++p) {
      const __m256i pairs = _mm256_load_si256(reinterpret_cast<const __m256i*>(at + k / 2 * kLineBytes) + p);
      w.part[p] = _mm256_castsi256_ps(k % 2 == 0 ? _mm256_slli_epi32(pairs, 16) : _mm256_and_si256(pairs, _mm256_set1_epi32(-0x10000)));
    }
    return w;
  }
  void next() { at += kTileBytes; }
};

/// Floats [k][16 outputs].
template <int kStep>
struct WideWeights : Plain {
  static constexpr int kRowsOfTwo = 3;
  const float* at;

  explicit WideWeights(const float* weights) : at(weights) {}
  Vec get(int k) const { return load(at + k * kLanes); }
  void next() { at += kStep * kLanes; }
};

/// Memory that is asked for while a stream is multiplied: `bytes` with each step, from the stream itself and then from what comes
/// after it. Steps of quantised streams differ by the line of scales, so that lines are counted, not steps.
struct Ahead {
  const char* from = nullptr;
  const char* turn = nullptr;   ///< where `from` ends ...
  const char* then = nullptr;   ///< ... and what comes after it
  std::int64_t num_lines = 0;   ///< with each step

  void step() {
    for (std::int64_t i = 0; i < num_lines; ++i) {
      if (from == turn) {
        from = then;
      }
      _mm_prefetch(from, _MM_HINT_T0);
      from += kLineBytes;
    }
  }
};
