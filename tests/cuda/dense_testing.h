// SPDX-License-Identifier: Apache-2.0
// A small dense product for tests of DenseProducts.
#pragma once

#include <gtest/gtest.h>

#include "experts/cuda/dense_products.h"
#include "product_testing.h"

namespace unmask::experts::cuda {

class DenseProductsTest : public testing::Test {
 protected:
  static constexpr std::int64_t kRows = 200, kN = 24, kK = 40;
  using Store = DenseProblem::Store;

  DenseProductsTest() : x_(random_values(kRows * kK, 1)), w_(random_values(kN * kK, 2)), device_w_(on_device(rounded(w_))) {}

  DenseProducts::Plan plan(Store store = Store::kWrite) const {
    return {.shape = {.n = kN, .k = kK, .y_stride = kN, .store = store}, .w = device_w_.data(), .most_rows = kRows};
  }

  /// `rows` real rows, from row `first` on.
  std::vector<float> multiply(DenseProducts& products, std::int64_t first, std::int64_t rows, Store store, Precision precision = Precision::kBfloat16) {
    DeviceValues x(std::vector<float>(x_.begin() + first * kK, x_.begin() + (first + rows) * kK), precision);
    Array<std::int32_t> real = on_device(std::vector<std::int32_t>{static_cast<std::int32_t>(rows)});
    Array<float> y = on_device(std::vector<float>(static_cast<std::size_t>(rows * kN), 3.0F));
    products.multiply({.x = x, .w = device_w_.data(), .rows = {real.data(), rows}, .n = kN, .k = kK, .store = store, .y = y.data(), .y_stride = kN}, nullptr);
    return from_device(y.data(), rows * kN);
  }

  void expect_right(const std::vector<float>& y, std::int64_t first, Store store) {
    for (std::size_t i = 0; i < y.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i) / kN + first;
      ExactSum sum = exact_product(x_.data() + row * kK, w_.data() + static_cast<std::int64_t>(i) % kN * kK, kK);
      if (store == Store::kAdd) {
        sum.add(3.0);
      }
      ASSERT_NEAR(y[i], sum.value, sum.bound(kK + 1));
    }
  }

  std::vector<float> x_, w_;
  Array<bfloat16> device_w_;
};

}  // namespace unmask::experts::cuda
