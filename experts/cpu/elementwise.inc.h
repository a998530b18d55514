// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by each kernel family: norms, activation, softmax, weighted sums.

/// Calls full(i) for each whole vector of [0, count) and rest(i, n) for what is left.
template <class Full, class Rest>
inline void for_vectors(std::int64_t count, Full full, Rest rest) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    full(i);
  }
  if (i < count) {
    rest(i, count - i);
  }
}

void rms_norm(const NormProblem& n) {
  for (std::int64_t r = 0; r < n.rows; ++r) {
    const float* x = n.x + r * n.x_stride;
    float* y = n.y + r * n.y_stride;
    Vec squares = broadcast(0.0F);
    for_vectors(
        n.cols, [&](std::int64_t i) { squares = madd(load(x + i), load(x + i), squares); },
        [&](std::int64_t i, std::int64_t c) {
          const Vec v = load_some(x + i, c);
          squares = madd(v, v, squares);
        });
    const Vec scale = broadcast(1.0F / __builtin_sqrtf(sum(squares) / static_cast<float>(n.cols) + n.eps));
    for_vectors(
        n.cols,
        [&](std::int64_t i) { store(rounded(load(x + i) * scale * load(n.weight + i), n.precision), y + i); },
        [&](std::int64_t i, std::int64_t c) {
          store_some(rounded(load_some(x + i, c) * scale * load_some(n.weight + i, c), n.precision), y + i, c);
        });
  }
}

void silu_multiply(const float* gate, const float* up, std::int64_t count, Precision precision, float* h) {
  const Vec one = broadcast(1.0F);
  const Vec zero = broadcast(0.0F);
  const auto apply = [&](Vec g, Vec u) { return rounded(g / (one + exponential(zero - g)) * u, precision); };
  for_vectors(
      count, [&](std::int64_t i) { store(apply(load(gate + i), load(up + i)), h + i); },
      [&](std::int64_t i, std::int64_t c) {
        store_some(apply(load_some(gate + i, c), load_some(up + i, c)), h + i, c);
      });
}

inline float largest_of(const float* x, std::int64_t count) {
  Vec most = broadcast(x[0]);
  for_vectors(
      count, [&](std::int64_t i) { most = larger(load(x + i), most); },
      [&](std::int64_t i, std::int64_t c) {
        for (; c > 0; --c, ++i) {
          most = larger(broadcast(x[i]), most);
        }
      });
  return largest(most);
}

void softmax(float* x, std::int64_t rows, std::int64_t cols) {
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = x + r * cols;
    const Vec shift = broadcast(largest_of(row, cols));
    Vec total = broadcast(0.0F);
    for_vectors(
        cols,
        [&](std::int64_t i) {
          const Vec e = exponential(load(row + i) - shift);
          store(e, row + i);
          total = total + e;
        },
        [&](std::int64_t i, std::int64_t c) {
          store_some(exponential(load_some(row + i, c) - shift), row + i, c);
          total = total + load_some(row + i, c);
        });
    const Vec divisor = broadcast(sum(total));
    for_vectors(
        cols, [&](std::int64_t i) { store(load(row + i) / divisor, row + i); },
        [&](std::int64_t i, std::int64_t c) { store_some(load_some(row + i, c) / divisor, row + i, c); });
  }
}

/// The product is rounded before it is added: where a reduction group is split between ranks the same products travel, and
/// are added elsewhere.
void add_weighted(float weight, const float* x, std::int64_t count, float* y) {
  const Vec w = broadcast(weight);
  for_vectors(
      count, [&](std::int64_t i) { store(load(y + i) + w * load(x + i), y + i); },
      [&](std::int64_t i, std::int64_t c) { store_some(load_some(y + i, c) + w * load_some(x + i, c), y + i, c); });
}
