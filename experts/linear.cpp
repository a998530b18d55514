// SPDX-License-Identifier: Apache-2.0
#include "experts/linear.h"

#include <algorithm>

namespace unmask::experts {
namespace {

constexpr std::int64_t kOutputsPerTask = 32;  // 128 KiB of weights at 2,048 inputs: enough to pay for handing a task out
constexpr std::int64_t kMostOutputsPerTask = 512;  // of panels: long streams, but no thread is left waiting
constexpr std::int64_t kTasksPerThread = 8;
constexpr std::int64_t kRowsPerTask = 64;

std::int64_t outputs_per_task(const Matrix& w, int num_threads) {
  if (w.layout() == Layout::kRows) {
    return kOutputsPerTask;
  }
  const std::int64_t share = whole(w.rows(), num_threads * kTasksPerThread * kOutputsPerTask) * kOutputsPerTask;
  return std::min(kMostOutputsPerTask, share);
}

}  // namespace

LinearInput::LinearInput(const Compute& compute, const float* x, std::int64_t rows, const Matrix& w)
    : compute_(compute), x_(x), w_(w) {
  if (w.layout() == Layout::kRows) {
    return;
  }
  UNMASK_CHECK(compute.kernels->panels != nullptr && compute.precision == Precision::kBfloat16,
               "matrix {} x {} is in panels, which kernels {} do not take", w.rows(), w.cols(), compute.kernels->name);
  const std::int64_t block_size = w.panel_size();  // 16 rows of tiles are as long as 16 outputs
  const std::int64_t num_blocks = whole(rows, kPanelRows);
  tiles_.grow(num_blocks * block_size);
  compute.team->for_each(num_blocks, [&](std::int64_t block) {
    const std::int64_t begin = block * kPanelRows;
    compute.kernels->panels->tile_rows({.x = x + begin * w.cols(), .x_stride = w.cols(), .picked = nullptr,
                                        .rows = std::min(kPanelRows, rows - begin), .k = w.cols(),
                                        .tiles = tiles_.data() + block * block_size});
  });
}

void LinearInput::multiply(const Piece& p) const {
  UNMASK_DCHECK(p.row_begin % kPanelRows == 0 && p.n_begin % kPanelRows == 0, "piece at {}, {}", p.row_begin, p.n_begin);
  const std::int64_t rows = p.row_end - p.row_begin;
  const std::int64_t num_outputs = p.n_end - p.n_begin;
  if (w_.layout() == Layout::kRows) {
    return compute_.kernels->gemm({.x = x_ + p.row_begin * w_.cols(), .x_stride = w_.cols(), .rows = rows,
                                   .w = w_.row(p.n_begin), .k = w_.cols(), .n_begin = 0, .n_end = num_outputs, .y = p.y,
                                   .y_stride = p.y_stride, .precision = compute_.precision});
  }
  const PanelWalk walk{.x = tiles_.data() + p.row_begin / kPanelRows * w_.panel_size(), .rows = rows, .k = w_.cols(),
                       .num_panels = whole(num_outputs, kPanelRows)};
  compute_.kernels->panels->gemm({.walk = walk, .w = w_.panel(p.n_begin / kPanelRows), .next_w = nullptr,
                                  .num_outputs = num_outputs, .y = p.y, .y_stride = p.y_stride});
}

void linear(const Compute& compute, const float* x, std::int64_t rows, const Matrix& w, float* y) {
  if (rows == 0) {
    return;
  }
  const LinearInput input(compute, x, rows, w);
  const std::int64_t each = outputs_per_task(w, compute.team->size());
  compute.team->for_each(whole(w.rows(), each), [&](std::int64_t task) {
    const std::int64_t begin = task * each;
    input.multiply({.row_begin = 0, .row_end = rows, .n_begin = begin, .n_end = std::min(w.rows(), begin + each),
                    .y = y + begin, .y_stride = w.rows()});
  });
}

void rms_norm_rows(const Compute& compute, const float* x, std::int64_t rows, std::span<const float> weight, float eps,
                   Precision precision, float* y) {
  const auto cols = static_cast<std::int64_t>(weight.size());
  compute.team->for_each(whole(rows, kRowsPerTask), [&](std::int64_t task) {
    const std::int64_t begin = task * kRowsPerTask;
    compute.kernels->rms_norm({.x = x + begin * cols, .x_stride = cols, .rows = std::min(kRowsPerTask, rows - begin),
                               .cols = cols, .weight = weight.data(), .eps = eps, .precision = precision,
                               .y = y + begin * cols, .y_stride = cols});
  });
}

}  // namespace unmask::experts
