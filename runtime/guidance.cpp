// SPDX-License-Identifier: Apache-2.0
#include "runtime/guidance.h"

#include <algorithm>

namespace unmask::runtime {

std::span<float> join_sides(std::span<float> wanted, std::int64_t hidden, std::span<const StepBatch::Guided> guided) {
  float* out = wanted.data();
  const float* in = wanted.data();
  for (const auto& [first, count, weight] : guided) {
    const std::int64_t values = count * hidden;
    const float* with = wanted.data() + first * hidden;
    const float* without = with + values;
    out = std::copy(in, with, out);  // what stands before this sequence
    for (std::int64_t i = 0; i < values; ++i) {
      *out++ = without[i] + weight * (with[i] - without[i]);
    }
    in = without + values;
  }
  out = std::copy(in, static_cast<const float*>(wanted.data() + wanted.size()), out);
  return {wanted.data(), out};
}

}  // namespace unmask::runtime
