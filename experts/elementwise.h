// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace unmask::experts {

/// y += x.
void add_values(const float* x, std::int64_t count, float* y);

}  // namespace unmask::experts
