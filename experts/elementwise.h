// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "experts/linear.h"

namespace unmask::experts {

/// y += x. On the calling thread.
void add_values(const float* x, std::int64_t count, float* y);

/// y += x of [rows, cols], divided among the team.
void add_rows(const Compute& compute, const float* x, std::int64_t rows, std::int64_t cols, float* y);

}  // namespace unmask::experts
