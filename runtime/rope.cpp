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

void Rope::rotate(float* x, std::int64_t position) const {
  const float* cos = cos_.data() + position * half_;
  const float* sin = sin_.data() + position * half_;
  for (std::int64_t i = 0; i < half_; ++i) {
    const float a = x[i];
    const float b = x[half_ + i];
    x[i] = a * cos[i] - b * sin[i];
    x[half_ + i] = b * cos[i] + a * sin[i];
  }
}

}  // namespace unmask::runtime
