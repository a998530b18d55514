// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/aligned_buffer.h"
#include "base/bfloat16.h"

namespace unmask::experts {

/// A weight matrix [rows = outputs, cols = inputs], bfloat16, row-major without padding, as a checkpoint stores it.
class Matrix {
 public:
  Matrix() = default;
  Matrix(std::int64_t rows, std::int64_t cols) : rows_(rows), cols_(cols), data_(rows * cols) {}

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  std::int64_t bytes() const { return rows_ * cols_ * static_cast<std::int64_t>(sizeof(bfloat16)); }
  bfloat16* data() { return data_.data(); }
  const bfloat16* data() const { return data_.data(); }
  bfloat16* row(std::int64_t r) { return data_.data() + r * cols_; }
  const bfloat16* row(std::int64_t r) const { return data_.data() + r * cols_; }

 private:
  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  AlignedBuffer<bfloat16> data_;
};

}  // namespace unmask::experts
