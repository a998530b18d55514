// SPDX-License-Identifier: Apache-2.0
#include "experts/matrix.h"

#include <algorithm>
#include <cstring>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "experts/quantised.h"

namespace unmask::experts {
namespace {

// A panel holds pairs of columns as words of 32 bits: pairs x 16 rows, the transpose of rows x pairs. It is turned in blocks of 4 rows
// and 16 pairs, so that a line of each row is in the cache once: rows of 4 KiB fall on the same few places of a first-level cache, and
// word by word they drove each other out.
constexpr std::int64_t kBlockPairs = 16;
constexpr std::int64_t kBlockRows = 4;
using Words = std::uint32_t __attribute__((vector_size(16)));

Words load(const void* from) {
  Words words;
  std::memcpy(&words, from, sizeof words);
  return words;
}

/// 4 x 4 words, read and written at these distances in bytes.
void transpose(const std::byte* from, std::int64_t from_stride, std::byte* to, std::int64_t to_stride) {
  const Words a = load(from), b = load(from + from_stride), c = load(from + 2 * from_stride), d = load(from + 3 * from_stride);
  const Words ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Words cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const Words rows[4] = {__builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5), __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7),
                         __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5), __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7)};
  for (std::int64_t i = 0; i < 4; ++i) {
    std::memcpy(to + i * to_stride, &rows[i], sizeof(Words));
  }
}

struct Strides {
  std::int64_t row, pair;  ///< in bytes
};

/// Turns as many whole blocks as there are and returns how many pairs of columns these were.
std::int64_t transpose_blocks(const std::byte* from, Strides in, std::byte* to, Strides out, std::int64_t pairs) {
  const std::int64_t whole_pairs = pairs / kBlockPairs * kBlockPairs;
  for (std::int64_t pair = 0; pair < whole_pairs; pair += kBlockPairs) {
    for (std::int64_t row = 0; row < kPanelRows; row += kBlockRows) {
      for (std::int64_t i = pair; i < pair + kBlockPairs; i += 4) {
        transpose(from + row * in.row + i * in.pair, std::max(in.row, in.pair), to + row * out.row + i * out.pair, std::max(out.row, out.pair));
      }
    }
  }
  return whole_pairs;
}

constexpr std::int64_t kPairBytes = 2 * sizeof(bfloat16);
constexpr Strides kInPanel = {.row = kPairBytes, .pair = kPanelRows * kPairBytes};
Strides in_rows(std::int64_t cols) { return {.row = cols * static_cast<std::int64_t>(sizeof(bfloat16)), .pair = kPairBytes}; }

}  // namespace

void pack_panel(const bfloat16* stored, std::int64_t rows, std::int64_t cols, bfloat16* panel) {
  const std::int64_t pairs = cols / 2;
  if (rows < kPanelRows || cols % kTileCols != 0) {
    std::memset(static_cast<void*>(panel), 0, size(whole(cols, kTileCols) * kTileCols * kPanelRows) * sizeof(bfloat16));
  }
  std::int64_t done = 0;
  if (rows == kPanelRows) {
    done = transpose_blocks(reinterpret_cast<const std::byte*>(stored), in_rows(cols), reinterpret_cast<std::byte*>(panel), kInPanel, pairs);
  }
  for (std::int64_t pair = done; pair < pairs; ++pair) {
    for (std::int64_t r = 0; r < rows; ++r) {
      std::memcpy(panel + (pair * kPanelRows + r) * 2, stored + r * cols + pair * 2, 2 * sizeof(bfloat16));
    }
  }
  for (std::int64_t r = 0; r < rows && cols % 2 != 0; ++r) {
    panel[(pairs * kPanelRows + r) * 2] = stored[r * cols + cols - 1];
  }
}

void unpack_panel(const bfloat16* panel, std::int64_t rows, std::int64_t cols, bfloat16* stored) {
  const std::int64_t pairs = cols / 2;
  std::int64_t done = 0;
  if (rows == kPanelRows) {
    done = transpose_blocks(reinterpret_cast<const std::byte*>(panel), kInPanel, reinterpret_cast<std::byte*>(stored), in_rows(cols), pairs);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t pair = done; pair < pairs; ++pair) {
      std::memcpy(stored + r * cols + pair * 2, panel + (pair * kPanelRows + r) * 2, 2 * sizeof(bfloat16));
    }
    if (cols % 2 != 0) {
      stored[r * cols + cols - 1] = panel[(pairs * kPanelRows + r) * 2];
    }
  }
}

Matrix::Matrix(std::int64_t rows, std::int64_t cols, WeightType type)
    : rows_(rows), cols_(cols), layout_(type == WeightType::kBf16 ? Layout::kRows : Layout::kQuantised), type_(type) {
  const std::int64_t as_bf16 = memory_bytes(rows, cols);
  if (const std::size_t bytes = size(type == WeightType::kBf16 ? as_bf16 : this->bytes()); bytes != 0) {
    data_.reset(static_cast<bfloat16*>(aligned_memory(bytes)));
  }
}

std::int64_t Matrix::memory_bytes(std::int64_t rows, std::int64_t cols) {
  const auto count = checked_mul(size(whole(rows, kPanelRows)), size(panel_elements(cols)));
  UNMASK_CHECK(rows >= 0 && cols >= 0 && count.value_or(SIZE_MAX) <= SIZE_MAX / 64, "matrix {} x {}", rows, cols);
  return static_cast<std::int64_t>(*count * sizeof(bfloat16));
}

Matrix Matrix::at(bfloat16* memory, std::int64_t rows, std::int64_t cols, Layout layout) {
  UNMASK_CHECK(layout != Layout::kQuantised, "matrix {} x {} of bfloat16", rows, cols);
  Matrix result;
  result.rows_ = rows;
  result.cols_ = cols;
  result.layout_ = layout;
  result.data_ = std::unique_ptr<bfloat16, MatrixMemory>(memory, MatrixMemory{MatrixMemory::Owner::kSomebodyElse});
  return result;
}

Matrix Matrix::in_panels(std::int64_t rows, std::int64_t cols) {
  Matrix result(rows, cols);
  result.layout_ = Layout::kPanels;
  return result;
}

std::int64_t Matrix::bytes() const {
  return type_ == WeightType::kBf16 ? rows_ * cols_ * static_cast<std::int64_t>(sizeof(bfloat16))
                                    : num_panels() * quantised_panel_bytes(type_, cols_);
}

std::span<std::byte> Matrix::memory_of_rows(std::int64_t first, std::int64_t count) {
  bfloat16* begin = layout_ == Layout::kPanels ? panel(first / kPanelRows) : row(first);
  const std::int64_t elements = layout_ == Layout::kPanels ? whole(count, kPanelRows) * panel_size() : count * cols_;
  return std::as_writable_bytes(std::span(begin, size(elements)));
}

std::byte* Matrix::quantised_panel(std::int64_t p) {
  return reinterpret_cast<std::byte*>(checked(Layout::kQuantised)) + p * quantised_panel_bytes(type_, cols_);
}

void Matrix::pack() {
  bfloat16* data = checked(Layout::kRows);
  layout_ = Layout::kPanels;
  AlignedBuffer<bfloat16> staging(kPanelRows * cols_);
  // A panel is at least as long as its rows: it may cover rows of panels behind it, which are packed, never of those before.
  for (std::int64_t p = num_panels() - 1; p >= 0; --p) {
    const std::int64_t rows = std::min(kPanelRows, rows_ - p * kPanelRows);
    std::memcpy(static_cast<void*>(staging.data()), data + p * kPanelRows * cols_, size(rows * cols_) * sizeof(bfloat16));
    pack_panel(staging.data(), rows, cols_, data + p * panel_size());
  }
}

}  // namespace unmask::experts
