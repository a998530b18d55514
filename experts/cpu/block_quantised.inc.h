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

template <class Numbers>
inline void gate_up_of(const QuantisedGateUpProblem& g) {
  const PanelWalk& w = g.product.walk;
  walk(w,
       BlockSource<NarrowNumbers<Numbers>, TwoMatrices>{{bytes_of(g.gate), bytes_of(g.up), nullptr, nullptr, quantised_panel_bytes(g.type, w.k), w.num_panels}},
       ActivateSums{g.product});
}

template <class Numbers>
inline void add_down_of(const QuantisedAddProblem& g) {
  const PanelWalk& w = g.product.walk;
  walk(w, BlockSource<NarrowNumbers<Numbers>, OneMatrix>{{bytes_of(g.w), bytes_of(g.next_w), quantised_panel_bytes(g.type, w.k), w.num_panels}},
       AddSums{g.product});
}

void quantised_gate_up(const QuantisedGateUpProblem& g) {
  g.type == WeightType::kInt8 ? gate_up_of<Int8Numbers>(g) : gate_up_of<Int4Numbers>(g);
}

void quantised_add_down(const QuantisedAddProblem& g) {
  g.type == WeightType::kInt8 ? add_down_of<Int8Numbers>(g) : add_down_of<Int4Numbers>(g);
}
