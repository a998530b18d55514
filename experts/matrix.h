// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

#include "base/bfloat16.h"
#include "base/error.h"
#include "experts/weight_type.h"

namespace unmask::experts {

/// The order of a matrix in memory.
///   kRows:   as a checkpoint stores it, row-major without padding.
///   kPanels: [rows / 16][cols / 32] tiles of [16 pairs of cols][16 rows][2], as AMX and vectors take them: a panel of 16
///            rows is one stream of bytes. Rows and columns are padded with zeros to whole tiles.
///   kQuantised: panels of fewer bits, see quantised.h; the same for every kernel family.
enum class Layout { kRows, kPanels, kQuantised };

constexpr std::int64_t kPanelRows = 16;
constexpr std::int64_t kTileCols = 32;

/// How many whole tiles or panels hold `count`.
constexpr std::int64_t whole(std::int64_t count, std::int64_t each) { return (count + each - 1) / each; }

/// Elements of a panel of matrices with so many columns.
constexpr std::int64_t panel_elements(std::int64_t cols) { return whole(cols, kTileCols) * kTileCols * kPanelRows; }

/// How the memory of a matrix ends: freed, unless it is somebody else's.
struct MatrixMemory {
  enum class Owner { kMatrix, kSomebodyElse } owner = Owner::kMatrix;
  void operator()(bfloat16* memory) const {
    if (owner == Owner::kMatrix) {
      std::free(memory);
    }
  }
};

/// A weight matrix [rows = outputs, cols = inputs]. One of bfloat16 begins as kRows with room for either layout, any other is
/// kQuantised from the start; large ones ask for transparent huge pages.
class Matrix {
 public:
  Matrix() = default;
  /// Throws std::bad_alloc.
  Matrix(std::int64_t rows, std::int64_t cols, WeightType type = WeightType::kBf16);
  /// One of bfloat16 that is filled panel by panel, not in rows.
  static Matrix in_panels(std::int64_t rows, std::int64_t cols);
  /// One of bfloat16 in memory of somebody else, memory_bytes() of it, who keeps it for longer than the matrix lives.
  static Matrix at(bfloat16* memory, std::int64_t rows, std::int64_t cols, Layout layout);
  /// What a matrix of bfloat16 takes in either layout.
  static std::int64_t memory_bytes(std::int64_t rows, std::int64_t cols);

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  Layout layout() const { return layout_; }
  WeightType type() const { return type_; }
  /// Of bfloat16 without padding, of quantised weights all that is stored.
  std::int64_t bytes() const;
  bfloat16* data() { return data_.get(); }
  const bfloat16* data() const { return data_.get(); }

  /// Row r of a matrix in rows.
  bfloat16* row(std::int64_t r) { return checked(Layout::kRows) + r * cols_; }
  const bfloat16* row(std::int64_t r) const { return checked(Layout::kRows) + r * cols_; }

  /// Rows 16 p to 16 p + 15 of a matrix in panels.
  bfloat16* panel(std::int64_t p) { return checked(Layout::kPanels) + p * panel_size(); }
  const bfloat16* panel(std::int64_t p) const { return checked(Layout::kPanels) + p * panel_size(); }
  std::int64_t num_panels() const { return whole(rows_, kPanelRows); }
  /// Quantised rows 16 p to 16 p + 15, quantised_panel_bytes() of them.
  std::byte* quantised_panel(std::int64_t p);
  const std::byte* quantised_panel(std::int64_t p) const { return const_cast<Matrix&>(*this).quantised_panel(p); }
  /// Elements of one panel.
  std::int64_t panel_size() const { return panel_elements(cols_); }
  /// The memory of rows [first, first + count) in either layout of bfloat16; in panels, whole ones.
  std::span<std::byte> memory_of_rows(std::int64_t first, std::int64_t count);

  /// Turns rows into panels in place, from the last panel to the first, through a buffer of one panel.
  void pack();

 private:
  bfloat16* checked(Layout wanted) const {
    UNMASK_CHECK(layout_ == wanted, "matrix {} x {} has the layout of another kernel family", rows_, cols_);
    return data_.get();
  }

  std::int64_t rows_ = 0;
  std::int64_t cols_ = 0;
  Layout layout_ = Layout::kRows;
  WeightType type_ = WeightType::kBf16;
  std::unique_ptr<bfloat16, MatrixMemory> data_;
};

/// One panel of a matrix: `rows` (1 to 16) rows of `cols` without padding to tiles, and back.
void pack_panel(const bfloat16* stored, std::int64_t rows, std::int64_t cols, bfloat16* panel);
void unpack_panel(const bfloat16* panel, std::int64_t rows, std::int64_t cols, bfloat16* stored);

}  // namespace unmask::experts
