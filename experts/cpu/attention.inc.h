// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by each kernel family: attention with a running softmax.
//
// Keys are taken in blocks of kKeyBlock, counted from position 0 of the sequence, whatever rows ask: a query's result
// depends on its sequence alone. Per block: scores, new maximum, rescale what was gathered, add the block's values.

constexpr std::int64_t kKeyBlock = 64;

template <class Stored>
inline float dot(const float* a, const Stored* b, std::int64_t count) {
  Vec acc = broadcast(0.0F);
  for_vectors(
      count, [&](std::int64_t i) { acc = madd(load(a + i), load(b + i), acc); },
      [&](std::int64_t i, std::int64_t c) { acc = madd(load_some(a + i, c), load_some(b + i, c), acc); });
  return sum(acc);
}

inline void scale_by(float factor, std::int64_t count, float* y) {
  const Vec f = broadcast(factor);
  for_vectors(
      count, [&](std::int64_t i) { store(load(y + i) * f, y + i); },
      [&](std::int64_t i, std::int64_t c) { store_some(load_some(y + i, c) * f, y + i, c); });
}

template <class Stored>
inline void add_scaled(float factor, const Stored* x, std::int64_t count, float* y) {
  const Vec f = broadcast(factor);
  for_vectors(
      count, [&](std::int64_t i) { store(madd(f, load(x + i), load(y + i)), y + i); },
      [&](std::int64_t i, std::int64_t c) {
        store_some(madd(f, load_some(x + i, c), load_some(y + i, c)), y + i, c);
      });
}

template <class Stored>
inline void attend_to(const AttentionProblem& a, const Stored* keys, const Stored* values) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const float* q = a.q + r * a.q_stride;
    float* out = a.out + r * a.out_stride;
    float top = -__builtin_inff();
    float total = 0;
    __builtin_memset(out, 0, size(a.head_dim) * sizeof(float));
    for (std::int64_t begin = 0; begin < a.num_keys; begin += kKeyBlock) {
      const std::int64_t count = std::min(kKeyBlock, a.num_keys - begin);
      float score[kKeyBlock];
      float block_top = -__builtin_inff();
      for (std::int64_t j = 0; j < kKeyBlock; ++j) {
        score[j] = j < count ? dot(q, keys + (begin + j) * a.kv_stride, a.head_dim) * a.scale : -__builtin_inff();
        block_top = score[j] > block_top ? score[j] : block_top;
      }
      const float new_top = block_top > top ? block_top : top;
      float correction[kLanes];
      store(exponential(broadcast(top - new_top)), correction);
      Vec block_total = broadcast(0.0F);
      for (std::int64_t j = 0; j < kKeyBlock; j += kLanes) {
        const Vec e = exponential(load(score + j) - broadcast(new_top));
        store(e, score + j);
        block_total = block_total + e;
      }
      total = total * correction[0] + sum(block_total);
      scale_by(correction[0], a.head_dim, out);
      for (std::int64_t j = 0; j < count; ++j) {
        add_scaled(score[j], values + (begin + j) * a.kv_stride, a.head_dim, out);
      }
      top = new_top;
    }
    const Vec divisor = broadcast(total);
    for_vectors(
        a.head_dim, [&](std::int64_t i) { store(rounded(load(out + i) / divisor, a.precision), out + i); },
        [&](std::int64_t i, std::int64_t c) {
          store_some(rounded(load_some(out + i, c) / divisor, a.precision), out + i, c);
        });
  }
}

void attend(const AttentionProblem& a) {
  if (a.k != nullptr) {
    attend_to(a, a.k, a.v);
  } else {
    attend_to(a, a.k16, a.v16);
  }
}
