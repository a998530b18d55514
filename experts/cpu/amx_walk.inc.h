// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by amx.cpp: the walk over panels and rows that all panel products share.
//
//              panels, in groups of N
//        +------+------+------+------+-----
//   rows | 32 rows x 2 panels, or, where there are at most 16 rows, 16 rows x 4 panels
//        +------+------+------+------+-----
//
// While a group is multiplied with all rows, the weights of the next one are asked for: eight tiles ahead where one pass
// takes all rows, else a share of the next group in each pass, so that reading and multiplying overlap evenly.

constexpr std::int64_t kBlockRows = 16;
constexpr std::int64_t kTilesAtOnce = 1024;  // 1 MiB of inputs that stay in the second cache while all weights pass by

inline std::int64_t up_to(std::int64_t count, std::int64_t each) { return (count + each - 1) / each; }

/// Row blocks that a walk takes at a time: each time it reads all weights.
inline std::int64_t blocks_at_once(std::int64_t num_tiles) {
  const std::int64_t count = kTilesAtOnce / num_tiles;
  return count < 2 ? 2 : count;
}

/// Row blocks that are multiplied with a group while it is in the cache.
struct Blocks {
  const char* x;
  std::int64_t first;
  std::int64_t count;
  std::int64_t num_tiles;  ///< along k
};

/// Which share of the next group a pass asks for; of == 0: none, it looks some tiles ahead.
struct Share {
  std::int64_t number;
  std::int64_t of;
};

/// Which squares of the result a pass makes: R blocks of rows from `block` on, the N panels of a group.
struct Place {
  std::int64_t group;
  std::int64_t block;
  std::int64_t num_rows = 0;
};

/// Takes the sums of a pass to where they belong while the next pass multiplies, some rows per tile, and asks for the memory
/// in which those of the next pass will be added.
template <std::size_t N, class Sink>
class Outgoing {
 public:
  Outgoing(const Sink& sink, std::int64_t num_tiles) : sink_(sink), rows_per_step_(up_to(2 * kBlockRows, num_tiles)) {}
  ~Outgoing() { finish(); }
  Outgoing(const Outgoing&) = delete;
  Outgoing& operator=(const Outgoing&) = delete;

  void begin(std::int64_t group, std::int64_t block, std::int64_t num_blocks) {
    now_ = {group, block, num_blocks * kBlockRows};
    next_ = 0;
  }
  void step() {
    for (std::int64_t i = 0; i < rows_per_step_; ++i, ++next_) {
      if (next_ < last_.num_rows) {
        sink_.template take<N>(last_, next_, sums_[1 - current_]);
      }
      if (next_ < now_.num_rows) {
        sink_.template expect<N>(now_, next_);
      }
    }
  }
  /// Where the pass that began stores its sums; those of the pass before must have gone.
  Sums& end() {
    finish();
    last_ = now_;
    next_ = 0;
    current_ = 1 - current_;
    return sums_[1 - current_];
  }

 private:
  void finish() {
    for (; next_ < last_.num_rows; ++next_) {
      sink_.template take<N>(last_, next_, sums_[1 - current_]);
    }
  }

  const Sink& sink_;
  std::int64_t rows_per_step_;
  Place now_{}, last_{};
  std::int64_t next_ = 0;  ///< row
  int current_ = 0;
  Sums sums_[2];
};

template <std::size_t R, std::size_t N, class Beside>
inline void run_pass(const char* const (&x)[R], const char* const (&weights)[N], const char* const (&next)[N],
                     std::int64_t num_tiles, Share share, Beside& beside) {
  clear_sums();
  Ahead ahead[N];
  if (share.of > 0) {
    const std::int64_t pass_bytes = num_tiles * kLineBytes;
    for (std::size_t n = 0; n < N; ++n) {
      ahead[n] = {next[n] + share.number * pass_bytes, up_to(kTileLines, share.of), share.of * pass_bytes};
    }
    return multiply<N, Reach::kFar>(x, weights, ahead, 0, num_tiles, beside);
  }
  const std::int64_t turn = num_tiles > kTilesAhead ? num_tiles - kTilesAhead : 0;
  for (std::size_t n = 0; n < N; ++n) {
    ahead[n] = {weights[n] + kTilesAhead * kTileBytes, kTileLines, 0};
  }
  multiply<N, Reach::kNear>(x, weights, ahead, 0, turn, beside);
  for (std::size_t n = 0; n < N; ++n) {
    ahead[n] = {next[n] - turn * kTileBytes, kTileLines, 0};
  }
  multiply<N, Reach::kNear>(x, weights, ahead, turn, num_tiles, beside);
}

/// One group of N panels with all rows, of which the first `alone` passes ask for what they need themselves.
template <std::size_t N, class Sink>
inline void walk_rows(const Blocks& rows, std::int64_t group, const char* const (&weights)[N], const char* const (&next)[N],
                      std::int64_t alone, Outgoing<N, Sink>& out) {
  constexpr auto kAtOnce = static_cast<std::int64_t>(4 / N);
  const std::int64_t num_passes = up_to(rows.count, kAtOnce);
  for (std::int64_t pass = 0; pass < num_passes; ++pass) {
    const std::int64_t block = pass * kAtOnce;
    const char* x = rows.x + block * rows.num_tiles * kTileBytes;
    const Share share = pass < alone ? Share{0, 0} : Share{pass - alone, num_passes - alone};
    if constexpr (N == 2) {
      if (block + 1 < rows.count) {
        out.begin(group, rows.first + block, 2);
        run_pass<2, 2>({x, x + rows.num_tiles * kTileBytes}, weights, next, rows.num_tiles, share, out);
        store_sums<2, 2>(out.end());
        continue;
      }
    }
    out.begin(group, rows.first + block, 1);
    run_pass<1, N>({x}, weights, next, rows.num_tiles, share, out);
    store_sums<1, N>(out.end());
  }
}

/// Source<N>(first, pointers) says where the streams of group `first` / N begin, also one group past the end.
template <std::size_t N, class Source, class Sink>
inline void walk_groups(const Blocks& rows, std::int64_t num_groups, const Source& source, const Sink& sink) {
  Outgoing<N, Sink> out(sink, rows.num_tiles);
  for (std::int64_t group = 0; group < num_groups; ++group) {
    const char *weights[N], *next[N];
    source(group, weights);
    source(group + 1, next);
    const std::int64_t alone = group == 0 || rows.count <= static_cast<std::int64_t>(4 / N) ? 1 : 0;  // nobody asked before
    walk_rows<N>(rows, group, weights, next, alone, out);
  }
}

/// All rows with all streams. Source::num_streams panels in the order in which sums are wanted. Sink::take<N>(place, row, sums)
/// gets each row of a pass once; Sink::expect<N>(place, row) may prefetch for it.
template <class Source, class Sink>
inline void walk(const PanelWalk& w, const Source& source, const Sink& sink) {
  const TileScope tiles;
  const std::int64_t num_tiles = up_to(w.k, 32);
  const std::int64_t num_blocks = up_to(w.rows, kBlockRows);
  const std::int64_t at_once = blocks_at_once(num_tiles);
  for (std::int64_t first = 0; first < num_blocks; first += at_once) {
    const std::int64_t count = num_blocks - first < at_once ? num_blocks - first : at_once;
    const Blocks rows = {reinterpret_cast<const char*>(w.x) + first * num_tiles * kTileBytes, first, count, num_tiles};
    if (count == 1) {
      walk_groups<4>(rows, up_to(source.num_streams, 4), source, sink);
    } else {
      walk_groups<2>(rows, up_to(source.num_streams, 2), source, sink);
    }
  }
}
