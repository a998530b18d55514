// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "experts/linear.h"

namespace unmask::experts {

/// Rounds values to bfloat16 in place, where the precision asks for it. On the calling thread.
void round_values(float* x, std::int64_t count, Precision precision);

/// The same of [rows, cols], divided among the team.
void round_rows(const Compute& compute, float* x, std::int64_t rows, std::int64_t cols);

/// y += x of [rows, cols], divided among the team.
void add_rows(const Compute& compute, const float* x, std::int64_t rows, std::int64_t cols, float* y);

}  // namespace unmask::experts
