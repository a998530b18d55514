// SPDX-License-Identifier: Apache-2.0
// DenseProducts, whoever computes: right, and a row's bits its own.
#include <gtest/gtest.h>

#include "dense_testing.h"

namespace unmask::experts::cuda {
namespace {

TEST_F(DenseProductsTest, ARowsBitsAreItsOwn) {
  for (const Store store : {Store::kWrite, Store::kAdd}) {
    DenseProducts products;
    products.prepare(plan(store), nullptr);
    const std::vector<float> all = multiply(products, 0, kRows, store);
    expect_right(all, 0, store);
    for (const std::int64_t rows : {1, 2, 16, 17, 64, 70}) {
      EXPECT_EQ(multiply(products, 9, rows, store), std::vector<float>(all.begin() + 9 * kN, all.begin() + (9 + rows) * kN));
    }
  }
}

TEST_F(DenseProductsTest, WhatNobodyPreparedIsComputed) {
  DenseProducts products;
  expect_right(multiply(products, 0, 5, Store::kAdd), 0, Store::kAdd);
  expect_right(multiply(products, 0, 5, Store::kWrite, Precision::kFloat32), 0, Store::kWrite);
  EXPECT_TRUE(multiply(products, 0, 0, Store::kWrite).empty());
  EXPECT_TRUE(products.log().empty());
}

TEST_F(DenseProductsTest, ACapturedProductIsReplayed) {
  DenseProducts products;
  products.prepare(plan(), nullptr);
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

}  // namespace
}  // namespace unmask::experts::cuda
