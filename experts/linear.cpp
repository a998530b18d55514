// SPDX-License-Identifier: Apache-2.0
#include "experts/linear.h"

#include <algorithm>

#include "experts/elementwise.h"

namespace unmask::experts {
namespace {

constexpr std::int64_t kOutputsPerTask = 32;  // 128 KiB of weights at 2,048 inputs: enough to pay for handing a task out
constexpr std::int64_t kMostOutputsPerTask = 512;  // of panels: long streams, but no thread is left waiting
constexpr std::int64_t kTasksPerThread = 8;
constexpr std::int64_t kRowsPerTask = 16;
constexpr std::int64_t kInputsAtOnce = std::int64_t{1} << 19;  // 1 MiB of bfloat16, half of a second cache

std::int64_t outputs_per_task(const Matrix& w, int num_threads) {
  if (w.layout() == Layout::kRows) {
    return kOutputsPerTask;
  }
  const std::int64_t share = whole(w.rows(), num_threads * kTasksPerThread * kOutputsPerTask) * kOutputsPerTask;
  return std::min(kMostOutputsPerTask, share);
}

/// Calls body(row_begin, row_end, n_begin, n_end, member) for pieces of a product: all outputs of some rows, then the next rows,
/// so that these stay in the second cache.
template <class Body>
void for_pieces(const Compute& compute, const LinearInput& x, const Matrix& w, const Body& body) {
  const std::int64_t rows_each = x.rows_at_once();
  const std::int64_t outputs_each = outputs_per_task(w, compute.team->size());
  const std::int64_t num_columns = whole(w.rows(), outputs_each);
  compute.team->for_each_on(whole(x.rows(), rows_each) * num_columns, [&](std::int64_t task, int member) {
    const std::int64_t row = task / num_columns * rows_each;
    const std::int64_t n = task % num_columns * outputs_each;
    const std::int64_t next_n = (task + compute.team->size()) % num_columns * outputs_each;  // if all threads take turns
    body(LinearInput::Piece{.row_begin = row, .row_end = std::min(x.rows(), row + rows_each), .n_begin = n,
                            .n_end = std::min(w.rows(), n + outputs_each), .y = nullptr, .y_stride = w.rows(),
                            .next = LinearInput::weights_at(w, next_n)}, member);
  });
}

}  // namespace

void norm_rows(const KernelFamily& kernels, const NormedRows& in, std::int64_t begin, std::int64_t count, Precision precision, float* y) {
  const auto cols = static_cast<std::int64_t>(in.weight.size());
  kernels.rms_norm({.x = in.x + begin * cols, .x_stride = cols, .rows = count, .cols = cols, .weight = in.weight.data(), .eps = in.eps,
                    .precision = precision, .y = y, .y_stride = cols});
}

void LinearInput::shape(const Compute& compute, std::int64_t rows, const Matrix& like) {
  compute_ = &compute;
  x_ = nullptr;
  rows_ = rows;
  cols_ = like.cols();
  if (like.layout() == Layout::kPanels) {
    UNMASK_CHECK(compute.kernels->panels != nullptr && compute.kernels->serves(compute.precision),
                 "matrix {} x {} is in panels, which kernels {} do not take", like.rows(), like.cols(), compute.kernels->name);
    tiles_.grow(row_tiles_bytes(*compute.kernels->panels, rows, cols_));
  }
}

/// 16 rows or what is left of them.
void LinearInput::tile_rows(const float* x, std::int64_t block, std::byte* tiles) const {
  const std::int64_t block_bytes = row_tiles_bytes(*compute_->kernels->panels, kPanelRows, cols_);
  compute_->kernels->panels->tile_rows({.x = x, .x_stride = cols_, .picked = nullptr, .rows = std::min(kPanelRows, rows_ - block * kPanelRows),
                                        .k = cols_, .tiles = tiles + block * block_bytes});
}

void LinearInput::take(const Compute& compute, const float* x, std::int64_t rows, const Matrix& like) {
  shape(compute, rows, like);
  if (like.layout() == Layout::kRows) {
    x_ = x;
    return;
  }
  compute.team->for_each(whole(rows, kPanelRows), [&](std::int64_t block) { tile_rows(x + block * kPanelRows * cols_, block, tiles_.data()); });
}

void LinearInput::take_normed(const Compute& compute, const NormedRows& in, const Matrix& like) {
  shape(compute, in.rows, like);
  if (like.layout() == Layout::kRows) {
    normed_.grow(in.rows * cols_);
    rms_norm_rows(compute, in, compute.precision, normed_.data());
    x_ = normed_.data();
    return;
  }
  scratch_.resize(size(compute.team->size()));
  compute.team->for_each_on(whole(in.rows, kPanelRows), [&](std::int64_t block, int member) {
    auto& room = scratch_[size(member)];
    room.grow(kPanelRows * cols_);
    const std::int64_t begin = block * kPanelRows;
    norm_rows(*compute.kernels, in, begin, std::min(kPanelRows, in.rows - begin), compute.precision, room.data());
    tile_rows(room.data(), block, tiles_.data());
  });
}

std::int64_t LinearInput::rows_at_once() const {
  return std::max<std::int64_t>(1, kInputsAtOnce / std::max<std::int64_t>(1, cols_) / kPanelRows) * kPanelRows;
}

void LinearInput::multiply(const Matrix& w, const Piece& p) const {
  UNMASK_DCHECK(p.row_begin % kPanelRows == 0 && p.n_begin % kPanelRows == 0, "piece at {}, {}", p.row_begin, p.n_begin);
  const std::int64_t rows = p.row_end - p.row_begin;
  const std::int64_t num_outputs = p.n_end - p.n_begin;
  if (x_ != nullptr) {
    return compute_->kernels->gemm({.x = x_ + p.row_begin * cols_, .x_stride = cols_, .rows = rows, .w = w.row(p.n_begin), .k = cols_,
                                    .n_begin = 0, .n_end = num_outputs, .y = p.y, .y_stride = p.y_stride,
                                    .precision = compute_->precision});
  }
  const PanelWalk walk{.x = tiles_.data() + row_tiles_bytes(*compute_->kernels->panels, p.row_begin, cols_), .rows = rows, .k = cols_,
                       .num_panels = whole(num_outputs, kPanelRows)};
  compute_->kernels->panels->gemm({.walk = walk, .w = w.panel(p.n_begin / kPanelRows), .next_w = p.next,
                                   .num_outputs = num_outputs, .y = p.y, .y_stride = p.y_stride});
}

void linear(const Compute& compute, const float* x, std::int64_t rows, const Matrix& w, float* y) {
  if (rows == 0) {
    return;
  }
  const LinearInput input(compute, x, rows, w);
  for_pieces(compute, input, w, [&](LinearInput::Piece piece, int) {
    piece.y = y + piece.row_begin * w.rows() + piece.n_begin;
    input.multiply(w, piece);
  });
}

void linear_add(const Compute& compute, const LinearInput& x, const Matrix& w, PieceBuffers& buffers, float* y) {
  buffers.resize(size(compute.team->size()));
  for_pieces(compute, x, w, [&](LinearInput::Piece piece, int member) {
    const std::int64_t rows = piece.row_end - piece.row_begin;
    const std::int64_t count = piece.n_end - piece.n_begin;
    auto& room = buffers[size(member)];
    room.grow(rows * count);
    piece.y = room.data();
    piece.y_stride = count;
    x.multiply(w, piece);
    for (std::int64_t r = 0; r < rows; ++r) {
      add_values(room.data() + r * count, count, y + (piece.row_begin + r) * w.rows() + piece.n_begin);
    }
  });
}

void rms_norm_rows(const Compute& compute, const NormedRows& in, Precision precision, float* y) {
  const auto cols = static_cast<std::int64_t>(in.weight.size());
  compute.team->for_each(whole(in.rows, kRowsPerTask), [&](std::int64_t task) {
    const std::int64_t begin = task * kRowsPerTask;
    norm_rows(*compute.kernels, in, begin, std::min(kRowsPerTask, in.rows - begin), precision, y + begin * cols);
  });
}

}  // namespace unmask::experts
