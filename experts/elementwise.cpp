// SPDX-License-Identifier: Apache-2.0
// Plain loops that the compiler turns into vectors: the same bits in every kernel family.
#include "experts/elementwise.h"

#include <algorithm>

namespace unmask::experts {
namespace {

constexpr std::int64_t kRowsPerTask = 16;

}  // namespace

void add_values(const float* x, std::int64_t count, float* y) {
  for (std::int64_t i = 0; i < count; ++i) {
    y[i] += x[i];
  }
}

void add_rows(const Compute& compute, const float* x, std::int64_t rows, std::int64_t cols, float* y) {
  compute.team->for_each(whole(rows, kRowsPerTask), [&](std::int64_t task) {
    const std::int64_t begin = task * kRowsPerTask;
    add_values(x + begin * cols, std::min(kRowsPerTask, rows - begin) * cols, y + begin * cols);
  });
}

}  // namespace unmask::experts
