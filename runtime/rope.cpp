// SPDX-License-Identifier: Apache-2.0
#include "runtime/rope.h"

#include <cmath>

#include "base/types.h"

namespace unmask::runtime {

Rope::Rope(double theta, std::int64_t head_dim) : half_(head_dim / 2) {
  for (std::int64_t i = 0; i < half_; ++i) {
    frequency_.push_back(static_cast<float>(std::pow(theta, -static_cast<double>(i) / static_cast<double>(half_))));
  }
}

void Rope::prepare(std::int64_t count) {
  for (auto p = static_cast<std::int64_t>(cos_.size()) / half_; p < count; ++p) {
    for (const float frequency : frequency_) {
      // The angle is float32 as in the reference; its sine and cosine are then rounded once.
      const auto angle = static_cast<double>(static_cast<float>(p) * frequency);
      cos_.push_back(static_cast<float>(std::cos(angle)));
      sin_.push_back(static_cast<float>(std::sin(angle)));
    }
  }
}

}  // namespace unmask::runtime
