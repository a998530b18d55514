// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace behind block_products.inc.h: panel products of quantised weights (experts/quantised.h).
//
//   total [rows][16 outputs] += scale[16 outputs] * (sum over a group of x[row][k] * number[k][16 outputs])
//
// Numbers become floats in registers, for each block of rows anew; that takes two to three instructions for a register of them. A
// product of each with its scale, rounded to bfloat16 as other families take weights, would take five.

/// 16 scales of a group, times a power of two.
inline Vec load_scales(const char* scales, float times) { return load(reinterpret_cast<const bfloat16*>(scales)) * broadcast(times); }

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

struct Int8Numbers {
  static constexpr WeightType kType = WeightType::kInt8;
  static constexpr float kUnit = 1;

  static Vec get(const char* tile, int k) {
    Vec v;
    for (int p = 0; p < kParts; ++p) {
      v.part[p] = native_number(tile + k * kPanelRows + p * kNativeLanes);
    }
    return v;
  }
};

struct Int4Numbers {
  static constexpr WeightType kType = WeightType::kInt4;
  static constexpr float kUnit = kNibbleUnit;

  static Vec get(const char* tile, int k) {
    Vec v;
    for (int p = 0; p < kParts; ++p) {
      v.part[p] = native_nibble(tile + k / 8 * kLineBytes + p * kNativeBytes, k % 8);
    }
    return v;
  }
};

/// Two inputs of 16 outputs in the order of a panel: numbers of up to eight bits, times a power of two, are bfloat16 without rounding.
inline Vec pairs_of(const Vec& first, const Vec& second) {
  Vec pairs;
  for (int p = 0; p < kParts; ++p) {
    pairs.part[p] = reinterpret_cast<Native>(reinterpret_cast<NativeBits>(first.part[p]) >> 16 | reinterpret_cast<NativeBits>(second.part[p]));
  }
  return pairs;
}

/// A partial sum is that of a group.
template <class Numbers>
struct NarrowNumbers {
  static constexpr int kRowsOfTwo = kRowsOfTwoNumbers;
  static constexpr std::int64_t kStepsPerSum = quantised_form(Numbers::kType).group / kTileInputs;
  Blocks<Numbers::kType> blocks;
  Vec scales = {};

  explicit NarrowNumbers(const char* panel) : blocks(panel) {}
  void begin_sum() { scales = load_scales(blocks.scales(), Numbers::kUnit); }
  Vec get(int k) const {
    if constexpr (kTileProducts == kTileInputs) {
      return Numbers::get(blocks.tile, k);
    } else {
      return pairs_of(Numbers::get(blocks.tile, 2 * k), Numbers::get(blocks.tile, 2 * k + 1));
    }
  }
  void add_to(Vec& total, const Vec& sum) const { total = madd(sum, scales, total); }
  void next() { blocks.next(); }
};

/// The same, expanded before to a panel of bfloat16.
template <class Numbers>
struct ExpandedNumbers : NarrowNumbers<Numbers> {
  PanelWeights panel;

  ExpandedNumbers(const char* numbers, const char* expanded) : NarrowNumbers<Numbers>(numbers), panel(expanded) {}
  Vec get(int k) const { return panel.get(k); }
  void next() {
    NarrowNumbers<Numbers>::next();
    panel.next();
  }
};

template <class Numbers>
void expand_numbers(const char* numbers, std::int64_t num_tiles, char* panel) {
  Blocks<Numbers::kType> blocks(numbers);
  for (std::int64_t tile = 0; tile < num_tiles; ++tile, panel += kTileBytes, blocks.next()) {
#pragma GCC unroll 16
    for (int k = 0; k < kTileInputs; k += 2) {
      const Vec line = pairs_of(Numbers::get(blocks.tile, k), Numbers::get(blocks.tile, k + 1));
      __builtin_memcpy(panel + k / 2 * kLineBytes, &line, sizeof line);
    }
  }
}

/// Streams that few rows take from registers, and many from panels that stay in the second cache.
template <class Numbers, class Panels>
struct NumbersSource {
  Panels panels;
  bfloat16* workspace;  ///< [2 panels]

  template <class Sink>
  void run(const PanelWalk& w, std::int64_t number, const Group& group, const Sink& sink) const {
    if (w.rows <= kRowsFromRegisters) {
      return BlockSource<NarrowNumbers<Numbers>, Panels>{panels}.run(w, number, group, sink);
    }
    const std::int64_t num_tiles = up_to(w.k, kTileInputs);
    char* expanded[2];
    for (int s = 0; s < 2; ++s) {
      expanded[s] = reinterpret_cast<char*>(workspace) + s * panel_bytes(w.k);
      if (s < group.num_streams) {
        expand_numbers<Numbers>(group.now[s], num_tiles, expanded[s]);
      }
    }
    const ExpandedNumbers<Numbers> weights[2] = {{group.now[0], expanded[0]}, {group.now[1], expanded[1]}};
    walk_rows(w, number, group, weights, 0, sink);
  }
};

template <class Numbers>
inline void gate_up_of(const QuantisedGateUpProblem& g) {
  const PanelWalk& w = g.product.walk;
  walk(w,
       NumbersSource<Numbers, TwoMatrices>{{bytes_of(g.gate), bytes_of(g.up), nullptr, nullptr, quantised_panel_bytes(g.type, w.k), w.num_panels},
                                           g.workspace},
       ActivateSums{g.product});
}

template <class Numbers>
inline void add_down_of(const QuantisedAddProblem& g) {
  const PanelWalk& w = g.product.walk;
  walk(w, NumbersSource<Numbers, OneMatrix>{{bytes_of(g.w), bytes_of(g.next_w), quantised_panel_bytes(g.type, w.k), w.num_panels},
                                            g.workspace},
       AddSums{g.product});
}

void quantised_gate_up(const QuantisedGateUpProblem& g) {
  g.type == WeightType::kInt8 ? gate_up_of<Int8Numbers>(g) : gate_up_of<Int4Numbers>(g);
}

void quantised_add_down(const QuantisedAddProblem& g) {
  g.type == WeightType::kInt8 ? add_down_of<Int8Numbers>(g) : add_down_of<Int4Numbers>(g);
}
