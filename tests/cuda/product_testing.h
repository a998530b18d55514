// SPDX-License-Identifier: Apache-2.0
// What tests of products share: random values, device arrays from host ones and back, and how far a sum may be off.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "base/bfloat16.h"
#include "experts/cuda/device.h"
#include "experts/cuda/kernels.h"

namespace unmask::experts::cuda {

inline std::vector<float> random_values(std::int64_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    value = round_to_bfloat16(normal(generator));
  }
  return values;
}

template <class T>
Array<T> on_device(const std::vector<T>& values) {
  Array<T> array(static_cast<std::int64_t>(values.size()));
  copy(array.data(), values.data(), static_cast<std::int64_t>(values.size()), nullptr);
  check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
  return array;
}

template <class T>
std::vector<T> from_device(const T* data, std::int64_t count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  copy(values.data(), data, count, nullptr);
  check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
  return values;
}

inline std::vector<bfloat16> rounded(const std::vector<float>& values) {
  std::vector<bfloat16> result;
  for (const float value : values) {
    result.push_back(to_bfloat16(value));
  }
  return result;
}

/// Values of a precision in device memory.
class DeviceValues {
 public:
  DeviceValues(const std::vector<float>& values, Precision precision) : precision_(precision), count_(static_cast<std::int64_t>(values.size())) {
    if (precision == Precision::kFloat32) {
      floats_ = on_device(values);
    } else {
      halves_ = on_device(rounded(values));
    }
  }
  /// Undefined ones.
  DeviceValues(std::int64_t count, Precision precision) : precision_(precision), count_(count) {
    precision == Precision::kFloat32 ? floats_.grow(count) : halves_.grow(count);
  }
  void* data() { return precision_ == Precision::kFloat32 ? static_cast<void*>(floats_.data()) : halves_.data(); }
  operator Inputs() { return {data(), precision_}; }
  operator Outputs() { return {data(), precision_}; }
  std::vector<float> values() {
    if (precision_ == Precision::kFloat32) {
      return from_device(floats_.data(), count_);
    }
    std::vector<float> result;
    for (const bfloat16 value : from_device(halves_.data(), count_)) {
      result.push_back(to_float(value));
    }
    return result;
  }

 private:
  Precision precision_;
  std::int64_t count_;
  Array<float> floats_;
  Array<bfloat16> halves_;
};

/// A sum of k products and what it may be off by, in float32 and in any order: k + 1 units of the sum of their sizes (tensor cores may
/// cut off where others round).
struct ExactSum {
  double value = 0;
  double size = 0;

  void add(double product) {
    value += product;
    size += std::abs(product);
  }
  double bound(std::int64_t k) const { return static_cast<double>(k + 1) * std::ldexp(1.0, -23) * size + 1e-30; }
};

inline ExactSum exact_product(const float* x, const float* w, std::int64_t k) {
  ExactSum sum;
  for (std::int64_t i = 0; i < k; ++i) {
    sum.add(static_cast<double>(x[i]) * static_cast<double>(w[i]));
  }
  return sum;
}

/// Half a unit in the last place of a value that was rounded to the precision.
inline double rounding(double value, Precision precision) {
  return std::abs(value) * std::ldexp(1.0, precision == Precision::kFloat32 ? -24 : -8);
}

}  // namespace unmask::experts::cuda
