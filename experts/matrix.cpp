// SPDX-License-Identifier: Apache-2.0
#include "experts/matrix.h"

#include <algorithm>
#include <cstring>

#include "base/aligned_buffer.h"
#include "base/checked_math.h"
#include "experts/quantised.h"

namespace unmask::experts {
void pack_panel(const bfloat16* stored, std::int64_t rows, std::int64_t cols, bfloat16* panel) {
  const std::int64_t pairs = cols / 2;
  if (rows < kPanelRows || cols % kTileCols != 0) {
    std::memset(static_cast<void*>(panel), 0, size(whole(cols, kTileCols) * kTileCols * kPanelRows) * sizeof(bfloat16));
  }
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
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
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t pair = 0; pair < pairs; ++pair) {
      std::memcpy(stored + r * cols + pair * 2, panel + (pair * kPanelRows + r) * 2, 2 * sizeof(bfloat16));
    }
    if (cols % 2 != 0) {
      stored[r * cols + cols - 1] = panel[(pairs * kPanelRows + r) * 2];
    }
  }
}

Matrix::Matrix(std::int64_t rows, std::int64_t cols, WeightType type)
    : rows_(rows), cols_(cols), layout_(type == WeightType::kBf16 ? Layout::kRows : Layout::kQuantised), type_(type) {
  const auto count = checked_mul(size(num_panels()), size(panel_size()));
  UNMASK_CHECK(rows >= 0 && cols >= 0 && count.value_or(SIZE_MAX) <= SIZE_MAX / 64, "matrix {} x {}", rows, cols);
  const std::size_t bytes = type == WeightType::kBf16 ? *count * sizeof(bfloat16) : size(this->bytes());
  if (bytes == 0) {
    return;
  }
  data_.reset(static_cast<bfloat16*>(aligned_memory(bytes)));
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
