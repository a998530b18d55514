// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by avx2.cpp: panel products of quantised weights (experts/quantised.h).
//
//   few rows (one block takes all):  memory --quantised--> expanded in registers, input by input, on the way into the product
//   more rows:                       expand a stream into floats that stay in the second cache, then as for any weights
//
// Both multiply the same weights in the same order: a row's result never depends on the rows beside it.

/// 16 scales of a group, times a power of two.
inline Vec load_scales(const char* scales, float times) { return load(reinterpret_cast<const bfloat16*>(scales)) * broadcast(times); }

/// Products with a scale that stays in memory: kept in registers, scales would drive out sums.
inline __m256 scaled(__m256i numbers, const Native& scale) {
  __m256 product = _mm256_cvtepi32_ps(numbers);
  asm("vmulps %1, %0, %0" : "+x"(product) : "m"(scale));
  return product;
}

/// A stream's blocks: scales of two groups, then tiles.
template <WeightType kType>
struct Blocks {
  static constexpr QuantisedForm kForm = quantised_form(kType);
  const char* block;
  const char* tile;
  std::int64_t number = 0;  ///< of the tile in its block

  explicit Blocks(const char* panel) : block(panel), tile(panel + QuantisedForm::kScaleBytes) {}
  const char* scales() const { return block + number / (kForm.block_tiles / 2) * QuantisedForm::kScaleBytes / 2; }
  void next() {
    tile += kForm.tile_bytes;
    if (++number == kForm.block_tiles) {
      number = 0;
      block = tile;
      tile += QuantisedForm::kScaleBytes;
    }
  }
};

struct Int8Weights {
  static constexpr int kRowsOfTwo = 1;
  Blocks<WeightType::kInt8> blocks;
  Vec scales = {};

  explicit Int8Weights(const char* panel) : blocks(panel) {}

  void begin() { scales = load_scales(blocks.scales(), 1); }
  /// bfloat16 values, rounded as expand_rows() does.
  Vec get(int k) const {
    Vec w;
    for (int p = 0; p < kParts; ++p) {
      const __m256i numbers = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(blocks.tile + k * kPanelRows + p * kNativeLanes)));
      const __m256 exact = scaled(numbers, scales.part[p]);
      const __m256i rounded_up = _mm256_add_epi32(_mm256_castps_si256(exact), _mm256_set1_epi32(0x8000));
      w.part[p] = _mm256_castsi256_ps(_mm256_and_si256(rounded_up, _mm256_set1_epi32(-0x10000)));
    }
    return w;
  }
  void next() { blocks.next(); }
};

struct Int4Weights {
  static constexpr int kRowsOfTwo = 1;
  Blocks<WeightType::kInt4> blocks;
  Vec scales = {};

  explicit Int4Weights(const char* panel) : blocks(panel) {}

  void begin() { scales = load_scales(blocks.scales(), 0x1p-28F); }
  /// Four bits go to the top of their lane, where their sign is the lane's: times 2^28. Products are exact.
  Vec get(int k) const {
    Vec w;
    for (int p = 0; p < kParts; ++p) {
      const __m256i words = _mm256_load_si256(reinterpret_cast<const __m256i*>(blocks.tile + k / 8 * kLineBytes) + p);
      const __m256i up = _mm256_slli_epi32(words, 28 - k % 8 * 4);
      const __m256i bits = k % 8 == 0 ? up : _mm256_and_si256(up, _mm256_set1_epi32(-0x10000000));
      w.part[p] = scaled(bits, scales.part[p]);
    }
    return w;
  }
  void next() { blocks.next(); }
};

template <class Weights>
void expand_stream(const char* panel, std::int64_t num_tiles, float* to) {
  Weights weights(panel);
  for (std::int64_t tile = 0; tile < num_tiles; ++tile, to += kTileInputs * kLanes) {
    weights.begin();
#pragma GCC unroll 32
    for (int k = 0; k < kTileInputs; ++k) {
      store(weights.get(k), to + k * kLanes);
    }
    weights.next();
  }
}

template <class Weights, class Panels>
struct QuantisedSource {
  Panels panels;
  bfloat16* workspace;  ///< room for two streams of floats

  template <class Sink>
  void run(const PanelWalk& w, std::int64_t number, const Group& group, const Sink& sink) const {
    if (w.rows <= kMostRows) {
      const Weights weights[2] = {Weights(group.now[0]), Weights(group.now[1])};
      return walk_rows(w, number, group, weights, 1, sink);
    }
    const std::int64_t num_tiles = up_to(w.k, kTileInputs);
    WideWeights<kTileInputs> weights[2];
    for (int s = 0; s < group.num_streams; ++s) {
      float* to = reinterpret_cast<float*>(workspace) + s * num_tiles * kTileInputs * kLanes;
      expand_stream<Weights>(group.now[s], num_tiles, to);
      weights[s] = {to};
    }
    walk_rows(w, number, group, weights, 0, sink);
  }
};

template <class Weights>
inline void gate_up_of(const QuantisedGateUpProblem& g) {
  const PanelWalk& w = g.product.walk;
  walk(w, QuantisedSource<Weights, TwoMatrices>{{bytes_of(g.gate), bytes_of(g.up), nullptr, nullptr, quantised_panel_bytes(g.type, w.k), w.num_panels},
                                                g.workspace},
       ActivateSums{g.product});
}

template <class Weights>
inline void add_down_of(const QuantisedAddProblem& g) {
  const PanelWalk& w = g.product.walk;
  walk(w, QuantisedSource<Weights, OneMatrix>{{bytes_of(g.w), bytes_of(g.next_w), quantised_panel_bytes(g.type, w.k), w.num_panels}, g.workspace},
       AddSums{g.product});
}

void quantised_gate_up(const QuantisedGateUpProblem& g) {
  g.type == WeightType::kInt8 ? gate_up_of<Int8Weights>(g) : gate_up_of<Int4Weights>(g);
}

void quantised_add_down(const QuantisedAddProblem& g) {
  g.type == WeightType::kInt8 ? add_down_of<Int8Weights>(g) : add_down_of<Int4Weights>(g);
}
