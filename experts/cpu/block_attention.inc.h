// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace behind block_products.inc.h: attention in register blocks, with a running softmax.
//
//   lanes are queries:   scores [48 keys][16 queries] = keys * queries       broadcast: a key's value
//                        maximum, exponential, total: lane by lane
//   lanes are values:    out [16 queries][16 of dim] += weights * values     broadcast: a query's weight
//
// Keys and values of a block are widened once for all queries of a call (up to kQueriesAtOnce). Keys are taken in blocks of
// kKeysAtOnce, counted from position 0 of the sequence, whatever rows ask: a query's result depends on its sequence alone.

constexpr std::int64_t kKeysAtOnce = 48;     // with their values 48 KiB at a dimension of 128: a tenth of the second cache
constexpr std::int64_t kQueriesAtOnce = 128;
constexpr int kStep = 16;                    // inputs of a step: dimensions are padded to it, and 48 is a multiple
constexpr std::int64_t kQueryGroups = kQueriesAtOnce / kLanes;

/// What a call keeps beside its output.
struct AttentionRoom {
  std::int64_t dim;         ///< padded
  std::int64_t key_stride;  ///< not a multiple of 512 bytes: loads of values that many bytes apart wait for each other
  float* queries;    ///< [groups][dim][16 queries]
  float* keys;       ///< [48][key_stride]
  float* values;     ///< [dim / 16][48][16 of dim]
  float* scores;     ///< [48][16 queries]
  float* top;        ///< [groups][16 queries]
  float* total;      ///< likewise

  static std::int64_t floats(std::int64_t dim) {
    return kQueriesAtOnce * dim + 2 * kKeysAtOnce * (dim + kLanes) + kKeysAtOnce * kLanes + 2 * kQueriesAtOnce;
  }
  AttentionRoom(std::byte* workspace, std::int64_t head_dim) : dim(up_to(head_dim, kStep) * kStep), key_stride(dim + kLanes) {
    queries = reinterpret_cast<float*>(workspace);
    keys = queries + kQueriesAtOnce * dim;
    values = keys + kKeysAtOnce * key_stride;
    scores = values + kKeysAtOnce * dim;
    top = scores + kKeysAtOnce * kLanes;
    total = top + kQueriesAtOnce;
  }
};

std::int64_t attention_workspace(std::int64_t, std::int64_t head_dim) {
  return AttentionRoom::floats(up_to(head_dim, kStep) * kStep) * static_cast<std::int64_t>(sizeof(float));
}

template <class Stored>
inline Vec load_padded(const Stored* x, std::int64_t count) {
  return count >= kLanes ? load(x) : count > 0 ? load_some(x, count) : broadcast(0.0F);
}

/// Queries in lanes, those that are not there zero.
inline void turn_queries(const AttentionProblem& a, std::int64_t first, std::int64_t count, const AttentionRoom& room) {
  for (std::int64_t r = 0; r < up_to(count, kLanes) * kLanes; ++r) {
    float* to = room.queries + r / kLanes * room.dim * kLanes + r % kLanes;
    const float* q = a.q + (first + r) * a.q_stride;
    for (std::int64_t d = 0; d < room.dim; ++d) {
      to[d * kLanes] = r < count && d < a.head_dim ? q[d] : 0.0F;
    }
  }
}

/// Keys [begin, begin + count) and their values as floats; up to kKeysAtOnce, zeros.
template <class Stored>
inline void widen_block(const AttentionProblem& a, const Stored* keys, const Stored* values, std::int64_t begin, std::int64_t count, const AttentionRoom& room) {
  const std::int64_t whole_dim = a.head_dim / kLanes * kLanes;
  for (std::int64_t j = 0; j < kKeysAtOnce; ++j) {
    const Stored* key = keys + (begin + j) * a.kv_stride;
    const Stored* value = values + (begin + j) * a.kv_stride;
    float* to_key = room.keys + j * room.key_stride;
    float* to_value = room.values + j * kLanes;
    const std::int64_t full = j < count ? whole_dim : 0;
    for (std::int64_t d = 0; d < full; d += kLanes) {
      store(load(key + d), to_key + d);
      store(load(value + d), to_value + d * kKeysAtOnce);
    }
    for (std::int64_t d = full; d < room.dim; d += kLanes) {
      const std::int64_t some = j < count ? a.head_dim - d : 0;
      store(load_padded(key + d, some), to_key + d);
      store(load_padded(value + d, some), to_value + d * kKeysAtOnce);
    }
  }
}

/// scores [48 keys][16 queries of a group], not yet scaled.
void score_block(const AttentionRoom& room, const float* queries) {
  for (std::int64_t j = 0; j < kKeysAtOnce; j += kMostRows) {
    LooseRows<float, kMostRows, 1> rows{.at = {}, .step = kStep};
    for (int r = 0; r < kMostRows; ++r) {
      rows.at[r] = room.keys + (j + r) * room.key_stride;
    }
    WideWeights<kStep> weights[1] = {WideWeights<kStep>(queries)};
    BlockSums<kMostRows, 1> sums;
    sums.clear();
    Nothing nothing;
    multiply_block<kStep>(rows, weights, room.dim / kStep, nothing, sums);
    for (int r = 0; r < kMostRows; ++r) {
      store(sums.of[0][r], room.scores + (j + r) * kLanes);
    }
  }
}

/// Turns scores of `count` keys into weights, the others into zeros, and returns by what each query's sums so far are to be
/// multiplied.
Vec weigh_block(const AttentionRoom& room, std::int64_t count, float scale, float* top, float* total) {
  const Vec factor = broadcast(scale);
  Vec most = load(top);
  for (std::int64_t j = 0; j < count; ++j) {
    const Vec score = load(room.scores + j * kLanes) * factor;
    store(score, room.scores + j * kLanes);
    most = larger(score, most);
  }
  Vec sum_of_block = broadcast(0.0F);
  for (std::int64_t j = 0; j < count; ++j) {
    const Vec e = exponential(load(room.scores + j * kLanes) - most);
    store(e, room.scores + j * kLanes);
    sum_of_block = sum_of_block + e;
  }
  for (std::int64_t j = count; j < kKeysAtOnce; ++j) {
    store(broadcast(0.0F), room.scores + j * kLanes);
  }
  const Vec correction = exponential(load(top) - most);
  store(load(total) * correction + sum_of_block, total);
  store(most, top);
  return correction;
}

/// out = out * correction + weights * values, for R queries of a group; where nothing was summed before, out counts as zero.
template <int R>
inline void mix_rows(const AttentionProblem& a, const AttentionRoom& room, std::int64_t first_row, int lane, const float* correction, bool is_first) {
  for (std::int64_t d = 0; d < room.dim; d += kLanes) {
    const std::int64_t count = std::min<std::int64_t>(kLanes, a.head_dim - d);
    float* out = a.out + first_row * a.out_stride + d;
    const EvenRows<float, 1, kLanes> rows{.at = room.scores + lane, .step = kStep * kLanes};
    BlockSums<R, 1> sums;
    for (int r = 0; r < R; ++r) {
      sums.of[0][r] = is_first ? broadcast(0.0F) : load_padded(out + r * a.out_stride, count) * broadcast(correction[lane + r]);
    }
    WideWeights<kStep> weights[1] = {WideWeights<kStep>(room.values + d * kKeysAtOnce)};
    Nothing nothing;
    multiply_block<kStep>(rows, weights, kKeysAtOnce / kStep, nothing, sums);
    for (int r = 0; r < R; ++r) {
      store_outputs(sums.of[0][r], out + r * a.out_stride, count);
    }
  }
}

void mix_group(const AttentionProblem& a, const AttentionRoom& room, std::int64_t first_row, std::int64_t num_rows, Vec correction, bool is_first) {
  float corrections[kLanes];
  store(correction, corrections);
  const std::int64_t num_blocks = up_to(num_rows, kMostRows);
  for (std::int64_t block = 0; block < num_blocks; ++block) {
    const auto lane = static_cast<int>(num_rows * block / num_blocks);
    const auto rows = static_cast<int>(num_rows * (block + 1) / num_blocks) - lane;
    with_constant<kMostRows>(rows, [&](auto count) { mix_rows<count>(a, room, first_row + lane, lane, corrections, is_first); });
  }
}

inline void finish_row(const AttentionProblem& a, std::int64_t row, float total) {
  const Vec divisor = broadcast(total);
  float* out = a.out + row * a.out_stride;
  for (std::int64_t d = 0; d < a.head_dim; d += kLanes) {
    const std::int64_t count = std::min<std::int64_t>(kLanes, a.head_dim - d);
    store_outputs(rounded(load_padded(out + d, count) / divisor, a.precision), out + d, count);
  }
}

template <class Stored>
void attend_rows(const AttentionProblem& a, const Stored* keys, const Stored* values, std::int64_t first, std::int64_t num_rows) {
  const AttentionRoom room(a.workspace, a.head_dim);
  turn_queries(a, first, num_rows, room);
  std::fill_n(room.top, kQueriesAtOnce, -__builtin_inff());
  std::fill_n(room.total, kQueriesAtOnce, 0.0F);
  for (std::int64_t begin = 0; begin < a.num_keys; begin += kKeysAtOnce) {
    const std::int64_t count = std::min(kKeysAtOnce, a.num_keys - begin);
    widen_block(a, keys, values, begin, count, room);
    for (std::int64_t row = 0; row < num_rows; row += kLanes) {
      score_block(room, room.queries + row * room.dim);
      const Vec correction = weigh_block(room, count, a.scale, room.top + row, room.total + row);
      mix_group(a, room, first + row, std::min<std::int64_t>(kLanes, num_rows - row), correction, begin == 0);
    }
  }
  for (std::int64_t row = 0; row < num_rows; ++row) {
    finish_row(a, first + row, room.total[row]);
  }
}

void attend_blocks(const AttentionProblem& a) {
  for (std::int64_t first = 0; first < a.rows; first += kQueriesAtOnce) {
    const std::int64_t num_rows = std::min(kQueriesAtOnce, a.rows - first);
    if (a.k != nullptr) {
      attend_rows(a, a.k, a.v, first, num_rows);
    } else {
      attend_rows(a, a.k16, a.v16, first, num_rows);
    }
  }
}
