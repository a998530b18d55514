// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace behind block.inc.h: the walk over panels and rows that all panel products share.
//
//              streams of weights, in groups of two
//        +------+------+------+------+-----
//   rows | blocks of kMostRows rows or a little less, nearly alike, x 1 stream; or, up to Weights::kRowsOfTwo, x 2 streams
//        +------+------+------+------+-----
//
// A group stays in the second cache while all rows pass by. Where one block takes all rows, its streams ask for their own memory
// some lines ahead; else each block asks for a share of the next group, so that reading and multiplying overlap evenly.

constexpr std::int64_t kLinesAhead = 64;     // within a stream: enough to hide the memory's latency at its full speed
constexpr std::int64_t kTileValues = kTileInputs * kPanelRows;  // of 16 rows, from one row tile to the next

constexpr std::int64_t up_to(std::int64_t count, std::int64_t each) { return (count + each - 1) / each; }

/// Rows in blocks of nearly the same size, which a family may keep inside row tiles.
class RowBlocks {
 public:
  explicit RowBlocks(std::int64_t rows) : rows_(rows), span_(kBlocksStayInTiles ? kPanelRows : std::max<std::int64_t>(1, rows)), each_(up_to(span_, kMostRows)) {}
  std::int64_t count() const { return rows_ / span_ * each_ + up_to(rows_ % span_, kMostRows); }
  std::int64_t begin(std::int64_t block) const { return of_span(block, 0); }
  std::int64_t end(std::int64_t block) const { return of_span(block, 1); }

 private:
  std::int64_t of_span(std::int64_t block, std::int64_t further) const {
    const std::int64_t first = block / each_ * span_;
    const std::int64_t rows = std::min(span_, rows_ - first);
    return first + rows * (block % each_ + further) / up_to(rows, kMostRows);
  }

  std::int64_t rows_, span_, each_;
};

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

/// Where a row begins in row tiles.
inline const Value* row_at(const PanelWalk& w, std::int64_t num_tiles, std::int64_t row) {
  return reinterpret_cast<const Value*>(w.x) + row / kPanelRows * num_tiles * kTileValues + row % kPanelRows * kTileInputs;
}

/// Rows [begin, begin + R) of row tiles.
template <int R>
inline auto rows_of(const PanelWalk& w, std::int64_t num_tiles, std::int64_t begin) {
  constexpr int kInput = kTileInputs / kTileProducts;
  if constexpr (kBlocksStayInTiles) {
    return EvenRows<Value, kTileInputs, kInput>{.at = row_at(w, num_tiles, begin), .step = kTileValues};
  } else {
    LooseRows<Value, R, kInput> rows{.at = {}, .step = kTileValues};
    for (int r = 0; r < R; ++r) {
      rows.at[r] = row_at(w, num_tiles, begin + r);
    }
    return rows;
  }
}

/// What a block asks for: the rest of its own streams and the beginning of the next, or a share of the next group's.
struct Asking {
  std::int64_t number, of;  ///< this share, and how many there are; number < 0: its own
  std::int64_t num_tiles;

  Ahead with(const Group& g, int s) const {
    const std::int64_t lines = g.bytes / kLineBytes;
    if (number < 0) {
      const std::int64_t ahead = std::min(kLinesAhead, lines);
      return {.from = g.now[s] + ahead * kLineBytes, .lines = lines - ahead, .then = g.next[s], .then_lines = g.next[s] == nullptr ? 0 : ahead,
              .each = up_to(lines, num_tiles)};
    }
    const std::int64_t begin = lines * number / of, end = g.next[s] == nullptr ? begin : lines * (number + 1) / of;
    return {.from = g.next[s] + begin * kLineBytes, .lines = end - begin, .each = up_to(end - begin, num_tiles)};
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
  const auto rows = rows_of<R>(w, asking.num_tiles, row);
  if constexpr (R <= Weights::kRowsOfTwo) {
    if (g.num_streams == 2) {
      Weights both[2] = {weights[0], weights[1]};
      TwoAhead beside{{asking.with(g, 0), asking.with(g, 1)}};
      BlockSums<R, 2> of_both;
      of_both.clear();
      multiply_block<kTileProducts>(rows, both, asking.num_tiles, beside, of_both);
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
    multiply_block<kTileProducts>(rows, one, asking.num_tiles, beside, of_one);
    std::copy_n(of_one.of[0], R, sums[s]);
  }
}

template <class Weights>
[[gnu::noinline]] void run_rows(const PanelWalk& w, const Group& g, const Weights (&weights)[2], const Asking& asking, Vec (&sums)[2][kMostRows], std::int64_t row, int num_rows) {
  with_constant<kMostRows>(num_rows, [&](auto count) { run_block<count>(w, g, weights, asking, sums, row); });
}

/// All rows with the streams of one group, of which the first `alone` blocks ask for what they need
/// themselves.
template <class Weights, class Sink>
inline void walk_rows(const PanelWalk& w, std::int64_t number, const Group& group, const Weights (&weights)[2], std::int64_t alone, const Sink& sink) {
  const RowBlocks blocks(w.rows);
  for (std::int64_t block = 0; block < blocks.count(); ++block) {
    const std::int64_t begin = blocks.begin(block);
    const auto num_rows = static_cast<int>(blocks.end(block) - begin);
    Vec sums[2][kMostRows];
    sink.expect(number, group.num_streams, begin, num_rows);
    run_rows(w, group, weights, {block - alone, blocks.count() - alone, up_to(w.k, kTileInputs)}, sums, begin, num_rows);
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
