// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by the families that multiply in vector registers: a register block of the matrix product.
//
//   acc [rows][16 outputs] += x[row][k] * w[k][16 outputs], k by k
//
// Lanes are outputs: an input is broadcast to all of them, a weight vector is widened once for all rows of the block. An output's
// sum takes its k in ascending order in one lane, in partial sums of Weights::kStepsPerSum steps, whatever blocking is chosen: a
// row's result never depends on the rows beside it.
//
// A family says before this file how many rows a block has at most (kMostRows), with how many it takes two streams of weights in
// turn, so that sums hide their latency (kRowsOfTwoPlain, kRowsOfTwoNumbers), and has the instructions: add_products(x, w, sum).

constexpr int kTileInputs = 32;
constexpr std::int64_t kPlainSteps = 8;  // of a partial sum: 256 inputs. Rounding errors of long sums stay those of short ones
constexpr std::int64_t kLineBytes = 64;
constexpr std::int64_t kTileBytes = 1024;  // of bfloat16, 32 inputs x 16 outputs

/// Rows of a block that lie anywhere: `kInput` values from one input to the next.
template <class Value, int R, int kInput>
struct LooseRows {
  const Value* at[size(R)];
  std::int64_t step;  ///< values from the first input of a step to that of the next

  const Value* get(int row, int k) const { return at[row] + k * kInput; }
  void next() {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      at[r] += step;
    }
  }
};

/// Rows at `kRow` values from each other: one pointer for all of them.
template <class Value, int kRow, int kInput>
struct EvenRows {
  const Value* at;
  std::int64_t step;

  const Value* get(int row, int k) const { return at + row * kRow + k * kInput; }
  void next() { at += step; }
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

/// Calls f with `count`, 1 to kMost, as a constant.
template <int kMost, class F>
[[gnu::always_inline]] inline void with_constant(int count, const F& f) {
  [&]<int... kLess>(std::integer_sequence<int, kLess...>) {
    static_cast<void>(((count == kLess + 1 && (f(std::integral_constant<int, kLess + 1>{}), true)) || ...));
  }(std::make_integer_sequence<int, kMost>{});
}

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
#pragma GCC unroll 16
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
#pragma GCC unroll 8
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
#pragma GCC unroll 16
    for (int i = 0; i < N * R; ++i) {
      weights[i / R].add_to(sums.of[i / R][i % R], acc[i / R][i % R]);
    }
  }
}

/// Weights that are multiplied as they are.
struct Plain {
  static constexpr std::int64_t kStepsPerSum = kPlainSteps;
  static constexpr int kRowsOfTwo = kRowsOfTwoPlain;

  void begin_sum() {}
  static void add_to(Vec& total, const Vec& sum) { total = total + sum; }
};

/// Nothing to do beside a product.
struct Nothing {
  void step() {}
};

/// Weights of a panel in bfloat16 (Layout::kPanels), widened: a line holds two inputs of 16 outputs, the first in the lower halves.
struct NarrowWeights : Plain {
  const char* at;

  explicit NarrowWeights(const char* panel) : at(panel) {}
  Vec get(int k) const {
    Vec w;
    for (int p = 0; p < kParts; ++p) {
      NativeInt pairs;
      __builtin_memcpy(&pairs, at + k / 2 * kLineBytes + p * kNativeBytes, sizeof pairs);
      w.part[p] = reinterpret_cast<Native>(k % 2 == 0 ? pairs << 16 : pairs & -0x10000);
    }
    return w;
  }
  void next() { at += kTileBytes; }
};

/// Floats [k][16 outputs].
template <int kStep>
struct WideWeights : Plain {
  const float* at;

  explicit WideWeights(const float* weights) : at(weights) {}
  Vec get(int k) const { return load(at + k * kLanes); }
  void next() { at += kStep * kLanes; }
};

/// Memory that is asked for while a stream is multiplied: `each` lines with a step, of the stream itself and then of what comes after
/// it. Steps of quantised streams differ by the line of scales, so that lines are counted, not steps.
struct Ahead {
  const char* from = nullptr;
  std::int64_t lines = 0;       ///< there
  const char* then = nullptr;   ///< what comes after them, or null
  std::int64_t then_lines = 0;
  std::int64_t each = 0;

  void step() {
    const std::int64_t here = each < lines ? each : lines;
    ask(here);
    lines -= here;
    if (here < each) {
      from = then;
      lines = then_lines;
      then_lines = 0;
      const std::int64_t there = each - here < lines ? each - here : lines;
      ask(there);
      lines -= there;
    }
  }

 private:
  void ask(std::int64_t count) {
    std::int64_t i = 0;
    for (; i + 4 <= count; i += 4) {
#pragma GCC unroll 4
      for (int line = 0; line < 4; ++line) {
        _mm_prefetch(from + (i + line) * kLineBytes, kInto);
      }
    }
    for (; i < count; ++i) {
      _mm_prefetch(from + i * kLineBytes, kInto);
    }
    from += count * kLineBytes;
  }
};
