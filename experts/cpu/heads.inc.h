// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by each kernel family: what becomes of a projected head before attention.

/// Writes values of a head, rounded, as floats or in bfloat16.
struct HeadSink {
  Precision precision;
  float* y;
  bfloat16* y16;

  void put(std::int64_t at, Vec v, std::int64_t count) const {
    v = rounded(v, precision);
    if (y != nullptr) {
      count == kLanes ? store(v, y + at) : store_some(v, y + at, count);
    } else {
      count == kLanes ? store(v, y16 + at) : store_some(v, y16 + at, count);
    }
  }
};

template <class Part>
inline void for_parts(std::int64_t count, const Part& part) {
  for_vectors(
      count, [&](std::int64_t i) { part(i, kLanes); }, part);
}

inline Vec load_part(const float* x, std::int64_t count) { return count == kLanes ? load(x) : load_some(x, count); }

/// The head's values under its norm, whose shape of sums is that of rms_norm.
struct NormedHead {
  const float* x;
  const float* norm;
  Vec scale;

  NormedHead(const HeadProblem& h, std::int64_t row) : x(h.x + row * h.x_stride), norm(h.norm), scale(broadcast(1.0F)) {
    if (norm == nullptr) {
      return;
    }
    Vec squares = broadcast(0.0F);
    for_parts(h.dim, [&](std::int64_t i, std::int64_t count) {
      const Vec v = load_part(x + i, count);
      squares = madd(v, v, squares);
    });
    scale = broadcast(1.0F / __builtin_sqrtf(sum(squares) / static_cast<float>(h.dim) + h.eps));
  }
  Vec part(std::int64_t i, std::int64_t count) const {
    const Vec v = load_part(x + i, count);
    return norm == nullptr ? v : v * scale * load_part(norm + i, count);
  }
};

void prepare_head(const HeadProblem& h) {
  const std::int64_t half = h.dim / 2;
  for (std::int64_t row = 0; row < h.rows; ++row) {
    const NormedHead x(h, row);
    const HeadSink sink{h.precision, h.y == nullptr ? nullptr : h.y + row * h.dim, h.y16 == nullptr ? nullptr : h.y16 + row * h.dim};
    if (h.cos == nullptr) {
      for_parts(h.dim, [&](std::int64_t i, std::int64_t count) { sink.put(i, x.part(i, count), count); });
      continue;
    }
    const float* cos_of_row = h.cos + h.positions[row] * half;
    const float* sin_of_row = h.sin + h.positions[row] * half;
    for_parts(half, [&](std::int64_t i, std::int64_t count) {
      const Vec a = x.part(i, count);
      const Vec b = x.part(half + i, count);
      const Vec cos = load_part(cos_of_row + i, count);
      const Vec sin = load_part(sin_of_row + i, count);
      sink.put(i, a * cos - b * sin, count);
      sink.put(half + i, b * cos + a * sin, count);
    });
  }
}
