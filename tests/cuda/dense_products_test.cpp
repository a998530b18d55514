// SPDX-License-Identifier: Apache-2.0
// DenseProducts: the library where it keeps the promise, our own kernel where it does not, and why in the log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experts/cuda/dense_products.h"
#include "product_testing.h"
#include "simulator/cublaslt_control.h"

namespace unmask::experts::cuda {
namespace {

using simulator::LibraryAlgorithm;
using testing::ElementsAre;
using testing::HasSubstr;
using Store = DenseProblem::Store;

constexpr std::int64_t kRows = 200, kN = 24, kK = 40;

class DenseProductsTest : public testing::Test {
 protected:
  DenseProductsTest() : x_(random_values(kRows * kK, 1)), w_(random_values(kN * kK, 2)), device_w_(on_device(rounded(w_))) {}
  ~DenseProductsTest() override { simulator::offer_library_algorithms({LibraryAlgorithm::kGood}); }

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

TEST_F(DenseProductsTest, TheLibraryComputesWhatWasPrepared) {
  DenseProducts products;
  EXPECT_TRUE(products.prepare(plan(Store::kWrite), nullptr));
  EXPECT_TRUE(products.prepare(plan(Store::kWrite), nullptr));
  EXPECT_THAT(products.log(), ElementsAre(HasSubstr("n 24 k 40 written: cuBLASLt algorithm 0")));
  const long long before = simulator::num_library_products();
  expect_right(multiply(products, 3, 70, Store::kWrite), 3, Store::kWrite);
  EXPECT_EQ(simulator::num_library_products(), before + 1);
  // Not prepared, or of the parity mode.
  expect_right(multiply(products, 0, 5, Store::kAdd), 0, Store::kAdd);
  expect_right(multiply(products, 0, 5, Store::kWrite, Precision::kFloat32), 0, Store::kWrite);
  EXPECT_EQ(simulator::num_library_products(), before + 1);
  EXPECT_TRUE(products.prepare(plan(Store::kAdd), nullptr));
  expect_right(multiply(products, 0, 1, Store::kAdd), 0, Store::kAdd);
  EXPECT_TRUE(multiply(products, 0, 0, Store::kAdd).empty());
}

TEST_F(DenseProductsTest, ARowsBitsAreItsOwn) {
  for (const bool library : {true, false}) {
    simulator::offer_library_algorithms(library ? std::vector{LibraryAlgorithm::kGood} : std::vector<LibraryAlgorithm>{});
    DenseProducts products;
    EXPECT_EQ(products.prepare(plan(), nullptr), library);
    const std::vector<float> all = multiply(products, 0, kRows, Store::kWrite);
    for (const std::int64_t rows : {1, 2, 16, 17, 64, 70}) {
      EXPECT_EQ(multiply(products, 9, rows, Store::kWrite), std::vector<float>(all.begin() + 9 * kN, all.begin() + (9 + rows) * kN));
    }
  }
}

TEST_F(DenseProductsTest, WhatBreaksThePromiseIsRefused) {
  const std::pair<LibraryAlgorithm, const char*> bad[] = {
      {LibraryAlgorithm::kSplitsK, "splits k into 4 parts"},         {LibraryAlgorithm::kReduces, "reduction scheme 1"},
      {LibraryAlgorithm::kRowsMatter, "other bits than among 200"},  {LibraryAlgorithm::kPlaceMatters, "other bits than among 200"},
      {LibraryAlgorithm::kWrong, "instead of"},                      {LibraryAlgorithm::kNotForFewRows, "cannot do 1 rows"}};
  for (const auto& [algorithm, why] : bad) {
    for (const Store store : {Store::kWrite, Store::kAdd}) {
      SCOPED_TRACE(why);
      simulator::offer_library_algorithms({algorithm});
      DenseProducts alone;
      EXPECT_FALSE(alone.prepare(plan(store), nullptr));
      EXPECT_FALSE(alone.prepare(plan(store), nullptr));
      EXPECT_THAT(alone.log(), ElementsAre(testing::AllOf(HasSubstr("own kernel"), HasSubstr(why))));
      expect_right(multiply(alone, 0, 33, store), 0, store);

      simulator::offer_library_algorithms({algorithm, LibraryAlgorithm::kGood});
      DenseProducts second;
      EXPECT_TRUE(second.prepare(plan(store), nullptr));
      EXPECT_THAT(second.log(), ElementsAre(testing::AllOf(HasSubstr("cuBLASLt algorithm 0"), HasSubstr(why))));
    }
  }
}

TEST_F(DenseProductsTest, NothingOfferedIsSaid) {
  simulator::offer_library_algorithms({});
  DenseProducts products;
  EXPECT_FALSE(products.prepare(plan(), nullptr));
  EXPECT_THAT(products.log(), ElementsAre(HasSubstr("offers nothing")));
}

TEST_F(DenseProductsTest, ACapturedProductIsReplayed) {
  DenseProducts products;
  ASSERT_TRUE(products.prepare(plan(), nullptr));
  DeviceValues x(x_, Precision::kBfloat16);
  Array<std::int32_t> real = on_device(std::vector<std::int32_t>{7});
  Array<float> y = on_device(std::vector<float>(static_cast<std::size_t>(kRows * kN), 3.0F));
  const Stream stream = make_stream();
  check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  products.multiply({.x = x, .w = device_w_.data(), .rows = {real.data(), 16}, .n = kN, .k = kK, .y = y.data(), .y_stride = kN}, stream.get());
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream.get(), &graph), "cudaStreamEndCapture");
  cudaGraphExec_t exec = nullptr;
  check(cudaGraphInstantiate(&exec, graph, 0), "cudaGraphInstantiate");
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  const GraphExec owned(exec);
  EXPECT_EQ(from_device(y.data(), 1)[0], 3.0F);
  check(cudaGraphLaunch(exec, stream.get()), "cudaGraphLaunch");
  check(cudaStreamSynchronize(stream.get()), "cudaStreamSynchronize");
  expect_right(from_device(y.data(), 7 * kN), 0, Store::kWrite);
}

TEST_F(DenseProductsTest, MoreRowsThanWereTestedAreABug) {
  DenseProducts products;
  DenseProducts::Plan few = plan();
  few.most_rows = 16;
  ASSERT_TRUE(products.prepare(few, nullptr));
  EXPECT_ANY_THROW(multiply(products, 0, 17, Store::kWrite));
  EXPECT_ANY_THROW(products.prepare(plan(), nullptr));
}

}  // namespace
}  // namespace unmask::experts::cuda
