// SPDX-License-Identifier: Apache-2.0
// Plain loops that the compiler turns into vectors: the same bits in every kernel family.
#include "experts/elementwise.h"

namespace unmask::experts {
void add_values(const float* x, std::int64_t count, float* y) {
  for (std::int64_t i = 0; i < count; ++i) {
    y[i] += x[i];
  }
}

}  // namespace unmask::experts
