// SPDX-License-Identifier: Apache-2.0
// DenseProducts with libraries that offer good and bad algorithms: the library where it keeps the promise, our own kernel where it
// does not, and why in the log.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dense_testing.h"
#include "simulator/cublaslt_control.h"

namespace unmask::experts::cuda {
namespace {

using simulator::LibraryAlgorithm;
using testing::ElementsAre;
using testing::HasSubstr;

class DenseLibraryTest : public DenseProductsTest {
 protected:
  ~DenseLibraryTest() override { simulator::offer_library_algorithms({LibraryAlgorithm::kGood}); }
};

TEST_F(DenseLibraryTest, TheLibraryComputesWhatWasPrepared) {
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

TEST_F(DenseLibraryTest, WhatBreaksThePromiseIsRefused) {
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

TEST_F(DenseLibraryTest, NothingOfferedIsSaid) {
  simulator::offer_library_algorithms({});
  DenseProducts products;
  EXPECT_FALSE(products.prepare(plan(), nullptr));
  EXPECT_THAT(products.log(), ElementsAre(HasSubstr("offers nothing")));
}

TEST_F(DenseLibraryTest, MoreRowsThanWereTestedTakeSeveralCalls) {
  DenseProducts products;
  DenseProducts::Plan few = plan();
  few.most_rows = 64;
  ASSERT_TRUE(products.prepare(few, nullptr));
  const long long before = simulator::num_library_products();
  expect_right(multiply(products, 0, kRows, Store::kWrite), 0, Store::kWrite);
  EXPECT_EQ(simulator::num_library_products(), before + 4);
}

}  // namespace
}  // namespace unmask::experts::cuda
