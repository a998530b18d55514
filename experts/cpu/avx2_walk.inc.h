// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by avx2.cpp: the walk over panels and rows that all panel products share.
//
//              streams of weights, in groups of two
//        +------+------+------+------+-----
//   rows | blocks of 6 rows or a little less, all alike, x 1 stream; or, where there are at most 3, x 2 streams
//        +------+------+------+------+-----
//
// A group stays in the second cache while all rows pass by. Where one block takes all rows, its streams ask for their own memory
// some lines ahead; else each block asks for a share of the next group, so that reading and multiplying overlap evenly.

constexpr std::int64_t kBytesAhead = 4096;   // within a stream: enough to hide the memory's latency at its full speed
constexpr std::int64_t kTileFloats = kTileInputs * kPanelRows;  // of 16 rows, from one tile to the next

inline std::int64_t up_to(std::int64_t count, std::int64_t each) { return (count + each - 1) / each; }

/// Two streams side by side, and those that come after them: null where nobody knows.
struct Group {
  const char* now[2];
  const char* next[2];
  int num_streams;        ///< 1 where the last group is not full
  std::int64_t bytes;     ///< of a stream
};

/// Some rows of a walk with the sums of a group's streams.
struct Block {
  std::int64_t group;
  int num_streams;
  std::int64_t row;
  int num_rows;
  const Vec (*sums)[kMostRows];  ///< [streams]
};

/// Rows [begin, begin + R) of row tiles.
template <int R>
inline BlockRows<R, 1> rows_of(const PanelWalk& w, std::int64_t num_tiles, std::int64_t begin) {
  BlockRows<R, 1> rows{.at = {}, .step = kTileFloats};
  const auto* x = reinterpret_cast<const float*>(w.x);
  for (int r = 0; r < R; ++r) {
    const std::int64_t row = begin + r;
    rows.at[r] = x + row / kPanelRows * num_tiles * kTileFloats + row % kPanelRows * kTileInputs;
  }
  return rows;
}

/// What a block asks for: the rest of its own streams, or a share of the next group's.
struct Asking {
  std::int64_t number, of;  ///< this share, and how many there are; number < 0: its own
  std::int64_t num_tiles;

  Ahead with(const Group& g, int s) const {
    const char* next = g.next[s] != nullptr ? g.next[s] : g.now[s];
    if (number < 0) {
      return {g.now[s] + std::min(kBytesAhead, g.bytes), g.now[s] + g.bytes, next, up_to(g.bytes / kLineBytes, num_tiles)};
    }
    const std::int64_t lines = g.next[s] == nullptr ? 0 : g.bytes / kLineBytes;
    const std::int64_t begin = lines * number / of, end = lines * (number + 1) / of;
    return {next + begin * kLineBytes, next + end * kLineBytes, next + begin * kLineBytes, up_to(end - begin, num_tiles)};
  }
};

struct TwoAhead {
  Ahead of[2];
  void step() {
    of[0].step();
    of[1].step();
  }
};

template <int R, class Weights>
inline void run_block(const PanelWalk& w, const Group& g, const Weights (&weights)[2], const Asking& asking, Vec (&sums)[2][kMostRows], std::int64_t row) {
  const BlockRows<R, 1> rows = rows_of<R>(w, asking.num_tiles, row);
  if constexpr (R <= Weights::kRowsOfTwo) {
    if (g.num_streams == 2) {
      Weights both[2] = {weights[0], weights[1]};
      TwoAhead beside{{asking.with(g, 0), asking.with(g, 1)}};
      BlockSums<R, 2> of_both;
      of_both.clear();
      multiply_block<kTileInputs>(rows, both, asking.num_tiles, beside, of_both);
      for (int s = 0; s < 2; ++s) {
        std::copy_n(of_both.of[s], R, sums[s]);
      }
      return;
    }
  }
  for (int s = 0; s < g.num_streams; ++s) {
    Weights one[1] = {weights[s]};
    Ahead beside = asking.with(g, s);
    BlockSums<R, 1> of_one;
    of_one.clear();
    multiply_block<kTileInputs>(rows, one, asking.num_tiles, beside, of_one);
    std::copy_n(of_one.of[0], R, sums[s]);
  }
}

template <class Weights>
[[gnu::noinline]] void run_rows(const PanelWalk& w, const Group& g, const Weights (&weights)[2], const Asking& asking, Vec (&sums)[2][kMostRows], std::int64_t row, int num_rows) {
  switch (num_rows) {
    case 1: return run_block<1>(w, g, weights, asking, sums, row);
    case 2: return run_block<2>(w, g, weights, asking, sums, row);
    case 3: return run_block<3>(w, g, weights, asking, sums, row);
    case 4: return run_block<4>(w, g, weights, asking, sums, row);
    case 5: return run_block<5>(w, g, weights, asking, sums, row);
    default: return run_block<6>(w, g, weights, asking, sums, row);
  }
}

/// Rows in blocks that are all alike, with the streams of one group, of which the first `alone` blocks ask for what they need
/// themselves.
template <class Weights, class Sink>
inline void walk_rows(const PanelWalk& w, std::int64_t number, const Group& group, const Weights (&weights)[2], std::int64_t alone, const Sink& sink) {
  const std::int64_t num_blocks = up_to(w.rows, kMostRows);
  for (std::int64_t block = 0; block < num_blocks; ++block) {
    const std::int64_t begin = w.rows * block / num_blocks;
    const auto num_rows = static_cast<int>(w.rows * (block + 1) / num_blocks - begin);
    Vec sums[2][kMostRows];
    sink.expect(number, group.num_streams, begin, num_rows);
    run_rows(w, group, weights, {block - alone, num_blocks - alone, up_to(w.k, kTileInputs)}, sums, begin, num_rows);
    sink.take({number, group.num_streams, begin, num_rows, sums});
  }
}

/// All rows with all streams. Source::group(number) says where streams lie, Source::run(walk, number, group, sink) takes all rows
/// through them; Sink::take(block) gets each sum once, Sink::expect(..) may prefetch for it.
template <class Source, class Sink>
inline void walk(const PanelWalk& w, const Source& source, const Sink& sink) {
  for (std::int64_t number = 0; number < source.panels.num_groups(); ++number) {
    source.run(w, number, source.panels.group(number), sink);
  }
}
