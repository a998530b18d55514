// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by amx.cpp: panel products of quantised weights.
//
//   few rows (one pass takes all):  memory --quantised, prefetched--> expand tile u + 2 | multiply tile u <-- ring in L1
//   more rows:                      expand a whole group of panels into L2, then walk_rows() as for bfloat16 weights
//
// Both multiply the same tiles in the same order: a row's result never depends on the rows beside it.

// What was stored must have reached the cache when it is loaded. Longer ways through the ring were not tried in this loop.
constexpr std::int64_t kExpandAhead = 2;
constexpr std::int64_t kRing = 8;  // slots
template <class Tiles>
constexpr std::int64_t kBytesAhead = 8 * Tiles::kTile;  // as many tiles as for bfloat16

/// Where the bytes come from, `kBytesAhead` further on: the panel's own, then those of the panel that comes next.
struct Stream {
  const char* panel;
  const char* next;
  std::int64_t bytes;

  const char* at(std::int64_t offset) const { return offset < bytes ? panel + offset : next + (offset - bytes); }
};

template <class Tiles>
inline void expand_from(const Stream& s, std::int64_t tile, char* to) {
  const std::int64_t begin = tile / Tiles::kBlockTiles * kBlockBytes<Tiles> + tile % Tiles::kBlockTiles * Tiles::kTile;
  const char* ahead = s.at(begin + kBytesAhead<Tiles>);
  for (std::int64_t line = 0; line < Tiles::kTile / kLineBytes; ++line) {
    _mm_prefetch(ahead + line * kLineBytes, _MM_HINT_T0);
  }
  if (tile % Tiles::kBlockTiles == 0) {  // a block is one line longer than its tiles
    _mm_prefetch(ahead + Tiles::kTile, _MM_HINT_T0);
  }
  expand_tile<Tiles>(s.panel, tile, to);
}

/// The N panels of a pass, expanded in turn into a ring: number u is tile u / N of panel u % N.
template <class Tiles, std::size_t N>
struct Ring {
  const Stream (&streams)[N];
  std::int64_t num_tiles;
  char* slots;

  char* slot(std::int64_t tile, std::int64_t n) const {
    return slots + (tile * static_cast<std::int64_t>(N) + n) % kRing * kTileBytes;
  }
  /// What comes kExpandAhead after tile `tile` of panel C.
  template <int C>
  void expand_after(std::int64_t tile) const {
    constexpr std::int64_t kPanel = (C + kExpandAhead) % static_cast<std::int64_t>(N);
    const std::int64_t later = tile + (C + kExpandAhead) / static_cast<std::int64_t>(N);
    if (later < num_tiles) {
      expand_from<Tiles>(streams[kPanel], later, slot(later, kPanel));
    }
  }
};

template <std::size_t R, int C, class Tiles, std::size_t N>
inline void multiply_expanded(const Ring<Tiles, N>& ring, std::int64_t tile) {
  ring.template expand_after<C>(tile);
  constexpr int kWeights = R + C < 4 ? static_cast<int>(R) + C + 4 : 7;
  tile_load<kWeights>(ring.slot(tile, C));
  tile_dot<C, 4, kWeights>();
  if constexpr (R == 2) {
    tile_dot<static_cast<int>(N) + C, 5, kWeights>();
  }
}

template <class Tiles, std::size_t R, std::size_t N, class Beside>
inline void run_expanding(const char* const (&x)[R], const Stream (&streams)[N], std::int64_t num_tiles, char* slots, Beside& beside) {
  const Ring<Tiles, N> ring = {streams, num_tiles, slots};
  clear_sums();
  for (std::int64_t n = 0; n < kExpandAhead; ++n) {
    expand_from<Tiles>(streams[n], 0, ring.slot(0, n));
  }
  for (std::int64_t tile = 0; tile < num_tiles; ++tile) {
    tile_load<4>(x[0] + tile * kTileBytes);
    if constexpr (R == 2) {
      tile_load<5>(x[1] + tile * kTileBytes);
    }
    multiply_expanded<R, 0>(ring, tile);
    multiply_expanded<R, 1>(ring, tile);
    if constexpr (N == 4) {
      multiply_expanded<R, 2>(ring, tile);
      multiply_expanded<R, 3>(ring, tile);
    }
    beside.step();
  }
}

/// One group of N panels with all rows.
template <class Tiles, std::size_t N, class Sink>
inline void walk_quantised_rows(const Blocks& rows, std::int64_t group, const char* const (&weights)[N], const char* const (&next)[N],
                                char* workspace, Outgoing<N, Sink>& out) {
  const std::int64_t bytes = up_to(rows.num_tiles, Tiles::kBlockTiles) * kBlockBytes<Tiles>;
  Stream streams[N];
  for (std::size_t n = 0; n < N; ++n) {
    streams[n] = {weights[n], next[n], bytes};
  }
  if (rows.count <= static_cast<std::int64_t>(4 / N)) {
    out.begin(group, rows.first, rows.count);
    if constexpr (N == 2) {
      if (rows.count == 2) {
        run_expanding<Tiles, 2, 2>({rows.x, rows.x + rows.num_tiles * kTileBytes}, streams, rows.num_tiles, workspace, out);
        return store_sums<2, 2>(out.end());
      }
    }
    run_expanding<Tiles, 1, N>({rows.x}, streams, rows.num_tiles, workspace, out);
    return store_sums<1, N>(out.end());
  }
  const char* expanded[N];
  for (std::size_t n = 0; n < N; ++n) {
    char* to = workspace + static_cast<std::int64_t>(n) * rows.num_tiles * kTileBytes;
    expanded[n] = to;
    for (std::int64_t tile = 0; tile < rows.num_tiles; ++tile) {
      expand_from<Tiles>(streams[n], tile, to + tile * kTileBytes);
    }
  }
  walk_rows<N>(rows, group, expanded, next, 0, out);
}

template <class Tiles, std::size_t N, class Source, class Sink>
inline void walk_quantised_groups(const Blocks& rows, const Source& source, char* workspace, const Sink& sink) {
  const std::int64_t num_groups = up_to(source.num_streams, static_cast<std::int64_t>(N));
  Outgoing<N, Sink> out(sink, rows.num_tiles);
  for (std::int64_t group = 0; group < num_groups; ++group) {
    const char *weights[N], *next[N];
    source(group, weights);
    source(group + 1, next);
    walk_quantised_rows<Tiles, N>(rows, group, weights, next, workspace, out);
  }
}

template <class Tiles, class Source, class Sink>
inline void walk_quantised(const PanelWalk& w, const Source& source, bfloat16* workspace, const Sink& sink) {
  const TileScope tiles;
  const std::int64_t num_tiles = up_to(w.k, 32);
  const std::int64_t num_blocks = up_to(w.rows, kBlockRows);
  const std::int64_t at_once = blocks_at_once(num_tiles);
  auto* space = reinterpret_cast<char*>(workspace);
  for (std::int64_t first = 0; first < num_blocks; first += at_once) {
    const std::int64_t count = num_blocks - first < at_once ? num_blocks - first : at_once;
    const Blocks rows = {reinterpret_cast<const char*>(w.x) + first * num_tiles * kTileBytes, first, count, num_tiles};
    if (count == 1) {
      walk_quantised_groups<Tiles, 4>(rows, source, space, sink);
    } else {
      walk_quantised_groups<Tiles, 2>(rows, source, space, sink);
    }
  }
}

template <class Tiles>
inline std::int64_t stream_bytes(std::int64_t k) {
  return up_to(up_to(k, 32), Tiles::kBlockTiles) * kBlockBytes<Tiles>;
}
inline const char* bytes_of(const std::byte* p) { return reinterpret_cast<const char*>(p); }

template <class Tiles>
inline void gate_up_of(const QuantisedGateUpProblem& g) {
  const PanelWalk& w = g.product.walk;
  walk_quantised<Tiles>(w, TwoMatrices{bytes_of(g.gate), bytes_of(g.up), nullptr, nullptr, stream_bytes<Tiles>(w.k), 2 * w.num_panels},
                        g.workspace, ActivateSums{g.product});
}

template <class Tiles>
inline void add_down_of(const QuantisedAddProblem& g) {
  const PanelWalk& w = g.product.walk;
  walk_quantised<Tiles>(w, OneMatrix{bytes_of(g.w), bytes_of(g.next_w), stream_bytes<Tiles>(w.k), w.num_panels}, g.workspace,
                        AddSums{g.product});
}

void quantised_gate_up(const QuantisedGateUpProblem& g) {
  g.type == WeightType::kInt8 ? gate_up_of<Int8Tiles>(g) : gate_up_of<Int4Tiles>(g);
}

void quantised_add_down(const QuantisedAddProblem& g) {
  g.type == WeightType::kInt8 ? add_down_of<Int8Tiles>(g) : add_down_of<Int4Tiles>(g);
}
