// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace unmask::runtime {

/// Rotary position embedding, half-split ("neox") pairing: with angle(p, i) = p * theta^(-i / half) in float32,
///   (a, b) = (x[i], x[half + i])  ->  (a cos - b sin, b cos + a sin).
class Rope {
 public:
  Rope(double theta, std::int64_t head_dim);

  /// Makes positions 0 .. count-1 known. Not thread-safe.
  void prepare(std::int64_t count);

  /// [positions, half] of those that are prepared, for experts::HeadProblem.
  const float* cos() const { return cos_.data(); }
  const float* sin() const { return sin_.data(); }

 private:
  std::int64_t half_;
  std::vector<float> frequency_;  ///< [half]
  std::vector<float> cos_, sin_;  ///< [positions, half]
};

}  // namespace unmask::runtime
