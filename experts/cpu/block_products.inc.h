// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace behind block_walk.inc.h: where the panels of each product lie, and what becomes of its sums.

inline std::int64_t panel_bytes(std::int64_t k) { return up_to(k, kTileInputs) * kTileBytes; }
inline const char* bytes_of(const void* p) { return static_cast<const char*>(p); }

/// Panels of one matrix, two at a time.
struct OneMatrix {
  const char* w;
  const char* next;  ///< or null
  std::int64_t stride;
  std::int64_t num_panels;

  std::int64_t num_groups() const { return up_to(num_panels, 2); }
  Group group(std::int64_t number) const {
    const std::int64_t first = 2 * number;
    const char* after = first + 2 < num_panels ? w + (first + 2) * stride : next;
    const char* later = after == nullptr ? nullptr : first + 3 < num_panels || first + 2 >= num_panels ? after + stride : after;
    const bool is_full = first + 1 < num_panels;
    return {{w + first * stride, w + (is_full ? first + 1 : first) * stride}, {after, later}, is_full ? 2 : 1, stride};
  }
};

/// Panels of gate and up in turn.
struct TwoMatrices {
  const char *gate, *up;
  const char *next_gate, *next_up;
  std::int64_t stride;
  std::int64_t num_panels;

  std::int64_t num_groups() const { return num_panels; }
  Group group(std::int64_t number) const {
    const bool is_last = number + 1 == num_panels;
    return {{gate + number * stride, up + number * stride},
            {is_last ? next_gate : gate + (number + 1) * stride, is_last ? next_up : up + (number + 1) * stride}, 2, stride};
  }
};

/// Streams that are expanded in registers, for each block anew.
template <class Weights, class Panels>
struct BlockSource {
  Panels panels;

  template <class Sink>
  void run(const PanelWalk& w, std::int64_t number, const Group& group, const Sink& sink) const {
    const Weights weights[2] = {Weights(group.now[0]), Weights(group.now[1])};
    walk_rows(w, number, group, weights, number == 0 || w.rows <= kMostRows ? 1 : 0, sink);  // nobody asked before
  }
};

/// Of a panel; the last one may have fewer than 16.
inline std::int64_t outputs_of(std::int64_t panel, std::int64_t num_outputs) {
  return num_outputs - panel * kPanelRows < kPanelRows ? num_outputs - panel * kPanelRows : kPanelRows;
}

inline void store_outputs(Vec v, float* y, std::int64_t count) { count == kLanes ? store(v, y) : store_some(v, y, count); }
inline Vec load_outputs(const float* y, std::int64_t count) { return count == kLanes ? load(y) : load_some(y, count); }

struct StoreSums {
  const PanelGemmProblem& g;

  void expect(std::int64_t, int, std::int64_t, int) const {}
  void take(const Block& b) const {
    for (int s = 0; s < b.num_streams; ++s) {
      const std::int64_t panel = 2 * b.group + s;
      const std::int64_t count = outputs_of(panel, g.num_outputs);
      for (int r = 0; r < b.num_rows; ++r) {
        store_outputs(b.sums[s][r], g.y + (b.row + r) * g.y_stride + panel * kPanelRows, count);
      }
    }
  }
};

struct AddSums {
  const PanelAddProblem& g;

  float* place(std::int64_t row, std::int64_t panel) const { return g.slots + g.picked[row].slot * g.slots_stride + panel * kPanelRows; }
  void expect(std::int64_t group, int num_streams, std::int64_t row, int num_rows) const {
    for (int r = 0; r < num_rows; ++r) {
      for (int s = 0; s < num_streams; ++s) {
        _mm_prefetch(place(row + r, 2 * group + s), _MM_HINT_T0);
      }
    }
  }
  void take(const Block& b) const {
    for (int r = 0; r < b.num_rows; ++r) {
      const std::int64_t row = b.row + r;
      const Vec weight = broadcast(g.picked[row].weight);
      const bool is_old = g.begins == nullptr || g.begins[row] == 0;
      for (int s = 0; s < b.num_streams; ++s) {
        const std::int64_t panel = 2 * b.group + s;
        const std::int64_t count = outputs_of(panel, g.num_outputs);
        float* slot = place(row, panel);
        const Vec product = weight * b.sums[s][r];  // rounded, as add_weighted does
        store_outputs((is_old ? load_outputs(slot, count) : broadcast(0.0F)) + product, slot, count);
      }
    }
  }
};

/// Gate and up of a panel side by side: 16 values of h, half a line of its tile.
struct ActivateSums {
  const PanelGateUpProblem& g;

  void expect(std::int64_t, int, std::int64_t, int) const {}
  void take(const Block& b) const {
    const std::int64_t panel = g.first_panel + b.group;
    const std::int64_t num_tiles = up_to(g.width, kTileInputs);
    for (int r = 0; r < b.num_rows; ++r) {
      const std::int64_t row = b.row + r;
      Value* h = reinterpret_cast<Value*>(g.h) + (row / kPanelRows * num_tiles + panel / 2) * kTileValues + row % kPanelRows * kTileInputs + panel % 2 * kLanes;
      store(activated(b.sums[0][r], b.sums[1][r]), h);
      if (panel % 2 == 0 && (panel + 1) * kPanelRows >= g.width) {  // the last tile is only half full
        store(broadcast(0.0F), h + kLanes);
      }
    }
  }
  Vec activated(Vec gate, Vec up) const {
    return rounded(gate / (broadcast(1.0F) + exponential(broadcast(0.0F) - gate)) * up, g.precision);
  }
};

void panel_gemm(const PanelGemmProblem& g) {
  walk(g.walk, BlockSource<PanelWeights, OneMatrix>{{bytes_of(g.w), bytes_of(g.next_w), panel_bytes(g.walk.k), g.walk.num_panels}}, StoreSums{g});
}

void panel_add_down(const PanelAddProblem& g) {
  walk(g.walk, BlockSource<PanelWeights, OneMatrix>{{bytes_of(g.w), bytes_of(g.next_w), panel_bytes(g.walk.k), g.walk.num_panels}}, AddSums{g});
}

void panel_gate_up(const PanelGateUpProblem& g) {
  walk(g.walk,
       BlockSource<PanelWeights, TwoMatrices>{{bytes_of(g.gate), bytes_of(g.up), bytes_of(g.next_gate), bytes_of(g.next_up), panel_bytes(g.walk.k), g.walk.num_panels}},
       ActivateSums{g});
}

void tile_rows(const RowTilesProblem& t) {
  const std::int64_t num_tiles = up_to(t.k, kTileInputs);
  constexpr Precision kPrecision = sizeof(Value) == sizeof(bfloat16) ? Precision::kBfloat16 : Precision::kFloat32;
  auto* tiles = reinterpret_cast<Value*>(t.tiles);
  for (std::int64_t r = 0; r < t.rows; ++r) {
    const float* x = t.x + (t.picked != nullptr ? t.picked[r].row : r) * t.x_stride;
    Value* line = tiles + r / kPanelRows * num_tiles * kTileValues + r % kPanelRows * kTileInputs;
    for (std::int64_t k = 0; k < t.k; k += kTileInputs, line += kTileValues) {
      for (std::int64_t half = 0; half < kTileInputs; half += kLanes) {
        const std::int64_t count = t.k - k - half;
        const Vec v = count >= kLanes ? load(x + k + half) : count > 0 ? load_some(x + k + half, count) : broadcast(0.0F);
        store(rounded(v, kPrecision), line + half);
      }
    }
  }
}
