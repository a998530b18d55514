// SPDX-License-Identifier: Apache-2.0
// Plain loops that the compiler turns into vectors: the same bits in every kernel family.
#include "experts/elementwise.h"

#include <algorithm>

namespace unmask::experts {
namespace {

constexpr std::int64_t kRowsPerTask = 64;

template <class Part>
void for_rows(const Compute& compute, std::int64_t rows, const Part& part) {
  compute.team->for_each(whole(rows, kRowsPerTask), [&](std::int64_t task) {
    const std::int64_t begin = task * kRowsPerTask;
    part(begin, std::min(kRowsPerTask, rows - begin));
  });
}

}  // namespace

void round_values(float* x, std::int64_t count, Precision precision) {
  if (precision == Precision::kBfloat16) {
    for (std::int64_t i = 0; i < count; ++i) {
      x[i] = round_to_bfloat16(x[i]);
    }
  }
}

void round_rows(const Compute& compute, float* x, std::int64_t rows, std::int64_t cols) {
  for_rows(compute, rows, [&](std::int64_t begin, std::int64_t count) { round_values(x + begin * cols, count * cols, compute.precision); });
}

void add_rows(const Compute& compute, const float* x, std::int64_t rows, std::int64_t cols, float* y) {
  for_rows(compute, rows, [&](std::int64_t begin, std::int64_t count) {
    const float* from = x + begin * cols;
    float* to = y + begin * cols;
    for (std::int64_t i = 0; i < count * cols; ++i) {
      to[i] += from[i];
    }
  });
}

}  // namespace unmask::experts
