// SPDX-License-Identifier: Apache-2.0
#include "experts/row_mixer.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace unmask::experts {
namespace {

constexpr std::int64_t kSliceCols = 256;  // with 1,024 rows 512 KiB: a part of the second cache
constexpr std::int64_t kSquare = 16;

/// 16 columns of two neighbouring rows, in turn: a line of a panel of the turned slice.
void weave(const bfloat16* even, const bfloat16* odd, bfloat16* line) {
  std::array<std::uint32_t, kPanelRows> pairs;
  for (std::size_t c = 0; c < pairs.size(); ++c) {
    pairs[c] = static_cast<std::uint32_t>(even[c].bits) | static_cast<std::uint32_t>(odd[c].bits) << 16;
  }
  std::memcpy(static_cast<void*>(line), pairs.data(), sizeof pairs);
}

/// The last columns, with zeros behind them; where there is no odd row, zeros for it.
void weave_some(const bfloat16* even, const bfloat16* odd, std::int64_t cols, bfloat16* line) {
  std::array<bfloat16, kPanelRows> a{}, b{};
  std::copy_n(even, cols, a.data());
  if (odd != nullptr) {
    std::copy_n(odd, cols, b.data());
  }
  weave(a.data(), b.data(), line);
}

struct Slice {
  std::int64_t first_row, num_rows;
  std::int64_t first_col, num_cols;
};

/// Asks for the columns behind these ones, which the next slice turns: its lines are too short for the processor to foresee.
void prefetch_next(const bfloat16* columns, std::int64_t cols) {
  constexpr std::int64_t kLine = 64 / sizeof(bfloat16);
  for (std::int64_t c = 0; c < cols; c += kLine) {
    __builtin_prefetch(columns + cols + c, 0, 2);
  }
}

/// Panels whose outputs are the slice's columns and whose inputs are its rows, padded with zeros (Layout::kPanels).
void turn_to_panels(const Matrix& w, const Slice& slice, bfloat16* panels) {
  const std::int64_t inputs = whole(slice.num_rows, kTileCols) * kTileCols;
  for (std::int64_t i = 0; i < inputs; i += 2) {
    const bfloat16* even = i < slice.num_rows ? w.row(slice.first_row + i) + slice.first_col : nullptr;
    const bfloat16* odd = i + 1 < slice.num_rows ? w.row(slice.first_row + i + 1) + slice.first_col : nullptr;
    if (odd != nullptr && slice.first_col + 2 * slice.num_cols <= w.cols()) {
      prefetch_next(even, slice.num_cols);
      prefetch_next(odd, slice.num_cols);
    }
    for (std::int64_t c = 0; c < slice.num_cols; c += kPanelRows) {
      bfloat16* line = panels + c * inputs + i * kPanelRows;
      const std::int64_t cols = std::min(kPanelRows, slice.num_cols - c);
      if (odd != nullptr && cols == kPanelRows) {
        weave(even + c, odd + c, line);
      } else if (even != nullptr) {
        weave_some(even + c, odd == nullptr ? nullptr : odd + c, cols, line);
      } else {
        std::fill_n(line, 2 * kPanelRows, bfloat16{});
      }
    }
  }
}

/// [num_cols, num_rows], in squares so that both sides stay in the first cache.
void turn_to_rows(const Matrix& w, const Slice& slice, bfloat16* turned) {
  for (std::int64_t row = 0; row < slice.num_rows; row += kSquare) {
    const std::int64_t row_end = std::min(slice.num_rows, row + kSquare);
    for (std::int64_t c = 0; c < slice.num_cols; ++c) {
      for (std::int64_t i = row; i < row_end; ++i) {
        turned[c * slice.num_rows + i] = w.row(slice.first_row + i)[slice.first_col + c];
      }
    }
  }
}

}  // namespace

void RowMixer::mix(const Problem& problem) {
  UNMASK_DCHECK(problem.first >= 0 && problem.first + problem.count <= w_.rows(), "rows {} to {} of {}", problem.first,
                problem.first + problem.count, w_.rows());
  const bool in_panels = compute_.kernels->panels != nullptr && compute_.kernels->serves(compute_.precision);
  in_panels ? mix_panels(problem) : mix_rows(problem);
}

void RowMixer::mix_panels(const Problem& p) {
  const std::int64_t inputs = whole(p.count, kTileCols) * kTileCols;
  const auto& kernels = *compute_.kernels->panels;
  tiles_.grow(row_tiles_bytes(kernels, p.rows, p.count));
  turned_.grow(kSliceCols * inputs);
  kernels.tile_rows({.x = p.x, .x_stride = p.count, .picked = nullptr, .rows = p.rows, .k = p.count, .tiles = tiles_.data()});
  for (std::int64_t col = 0; col < w_.cols(); col += kSliceCols) {
    const std::int64_t cols = std::min(kSliceCols, w_.cols() - col);
    turn_to_panels(w_, {p.first, p.count, col, cols}, turned_.data());
    kernels.gemm({.walk = {.x = tiles_.data(), .rows = p.rows, .k = p.count, .num_panels = whole(cols, kPanelRows)},
                  .w = turned_.data(), .next_w = nullptr, .num_outputs = cols, .y = p.y + col, .y_stride = w_.cols()});
  }
}

void RowMixer::mix_rows(const Problem& p) {
  turned_.grow(kSliceCols * p.count);
  for (std::int64_t col = 0; col < w_.cols(); col += kSliceCols) {
    const std::int64_t cols = std::min(kSliceCols, w_.cols() - col);
    turn_to_rows(w_, {p.first, p.count, col, cols}, turned_.data());
    compute_.kernels->gemm({.x = p.x, .x_stride = p.count, .rows = p.rows, .w = turned_.data(), .k = p.count, .n_begin = 0,
                            .n_end = cols, .y = p.y + col, .y_stride = w_.cols(), .precision = compute_.precision});
  }
}

}  // namespace unmask::experts
