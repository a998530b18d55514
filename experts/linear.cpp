// SPDX-License-Identifier: Apache-2.0
#include "experts/linear.h"

#include <algorithm>

namespace unmask::experts {
namespace {

constexpr std::int64_t kOutputsPerTask = 32;  // 128 KiB of weights at 2,048 inputs: enough to pay for handing a task out
constexpr std::int64_t kRowsPerTask = 64;

std::int64_t pieces(std::int64_t count, std::int64_t each) { return (count + each - 1) / each; }

}  // namespace

void linear(const Compute& compute, const float* x, std::int64_t rows, const Matrix& w, float* y) {
  if (rows == 0) {
    return;
  }
  compute.team->for_each(pieces(w.rows(), kOutputsPerTask), [&](std::int64_t task) {
    const std::int64_t begin = task * kOutputsPerTask;
    compute.kernels->gemm({.x = x, .x_stride = w.cols(), .rows = rows, .w = w.data(), .k = w.cols(), .n_begin = begin,
                           .n_end = std::min(w.rows(), begin + kOutputsPerTask), .y = y, .y_stride = w.rows()});
  });
}

void rms_norm_rows(const Compute& compute, const float* x, std::int64_t rows, std::span<const float> weight, float eps,
                   Precision precision, float* y) {
  const auto cols = static_cast<std::int64_t>(weight.size());
  compute.team->for_each(pieces(rows, kRowsPerTask), [&](std::int64_t task) {
    const std::int64_t begin = task * kRowsPerTask;
    compute.kernels->rms_norm({.x = x + begin * cols, .x_stride = cols, .rows = std::min(kRowsPerTask, rows - begin),
                               .cols = cols, .weight = weight.data(), .eps = eps, .precision = precision,
                               .y = y + begin * cols, .y_stride = cols});
  });
}

}  // namespace unmask::experts
