// SPDX-License-Identifier: Apache-2.0
// multiply(): right in both precisions, and a row's bits are its own with every tile and any number of rows.
#include <bit>

#include <gtest/gtest.h>

#include "experts/cuda/tiled.h"
#include "product_testing.h"

namespace unmask::experts::cuda {
namespace {

constexpr float kUntouched = -77;

struct Case {
  std::int64_t rows, most, n, k;
};

struct Product {
  Case shape;
  Precision precision;
  std::vector<float> x, w;
  DenseProblem::Store store = DenseProblem::Store::kWrite;
  std::int64_t stride = 0;  // of y, beyond n

  Product(const Case& c, Precision p, unsigned seed) : shape(c), precision(p), x(random_values(c.most * c.k, seed)), w(random_values(c.n * c.k, seed + 1)) {}

  /// y [most, n + stride], which held kUntouched.
  std::vector<float> run(const TileSize* tile) const {
    DeviceValues device_x(x, precision);
    Array<bfloat16> device_w = on_device(rounded(w));
    Array<std::int32_t> real = on_device(std::vector<std::int32_t>{static_cast<std::int32_t>(shape.rows)});
    Array<float> y = on_device(std::vector<float>(static_cast<std::size_t>(shape.most * (shape.n + stride)), kUntouched));
    const DenseProblem problem{.x = device_x, .w = device_w.data(), .rows = {real.data(), shape.most}, .n = shape.n, .k = shape.k,
                               .store = store, .y = y.data(), .y_stride = shape.n + stride};
    tile == nullptr ? multiply(problem, nullptr) : multiply_by(*tile, problem, nullptr);
    return from_device(y.data(), shape.most * (shape.n + stride));
  }

  void expect_right(const std::vector<float>& y) const {
    for (std::int64_t r = 0; r < shape.most; ++r) {
      for (std::int64_t n = 0; n < shape.n + stride; ++n) {
        const float found = y[static_cast<std::size_t>(r * (shape.n + stride) + n)];
        if (r >= shape.rows || n >= shape.n) {
          ASSERT_EQ(found, kUntouched) << "row " << r << " output " << n;
          continue;
        }
        ExactSum sum = exact_product(x.data() + r * shape.k, w.data() + n * shape.k, shape.k);
        if (store == DenseProblem::Store::kAdd) {
          sum.add(kUntouched);
        }
        ASSERT_NEAR(found, sum.value, sum.bound(shape.k + 1)) << "row " << r << " output " << n;
      }
    }
  }
};

constexpr TileSize kTiles[] = {TileSize::kFew, TileSize::kNarrow, TileSize::kWide};

TEST(Gemm, MatchesTheExactProduct) {
  const Case cases[] = {{0, 5, 40, 64},   {1, 1, 8, 8},      {1, 16, 33, 72},   {17, 17, 130, 200}, {64, 64, 64, 64},
                        {65, 130, 31, 136}, {70, 70, 300, 520}, {128, 128, 256, 128}, {130, 200, 257, 40}};
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::Message() << c.rows << " of " << c.most << " rows, n " << c.n << ", k " << c.k);
    for (const std::int64_t stride : {0, 3, 4}) {
      Product product(c, Precision::kFloat32, 1);
      product.store = stride == 4 ? DenseProblem::Store::kAdd : DenseProblem::Store::kWrite;
      product.stride = stride;
      product.expect_right(product.run(nullptr));
      product.precision = Precision::kBfloat16;
      for (const TileSize& tile : kTiles) {
        product.expect_right(product.run(&tile));
      }
    }
  }
}

TEST(Gemm, ParityModeIsExactToAMillionth) {
  const Product product({3, 3, 5, 2048}, Precision::kFloat32, 3);
  const std::vector<float> y = product.run(nullptr);
  for (std::int64_t r = 0; r < 3; ++r) {
    for (std::int64_t n = 0; n < 5; ++n) {
      const ExactSum sum = exact_product(product.x.data() + r * 2048, product.w.data() + n * 2048, 2048);
      EXPECT_NEAR(y[static_cast<std::size_t>(r * 5 + n)], sum.value, 1e-6 * sum.size);
    }
  }
}

/// The rows `picked` of product, as a product of their own.
Product pick(const Product& product, const std::vector<std::int64_t>& picked) {
  Product some = product;
  some.shape.rows = some.shape.most = static_cast<std::int64_t>(picked.size());
  some.x.clear();
  for (const std::int64_t row : picked) {
    const auto begin = product.x.begin() + row * product.shape.k;
    some.x.insert(some.x.end(), begin, begin + product.shape.k);
  }
  return some;
}

void expect_same_bits(const std::vector<float>& some, const std::vector<std::int64_t>& picked, const std::vector<float>& all, std::int64_t n) {
  for (std::size_t i = 0; i < picked.size(); ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const float a = some[i * static_cast<std::size_t>(n) + static_cast<std::size_t>(j)];
      const float b = all[static_cast<std::size_t>(picked[i] * n + j)];
      ASSERT_EQ(std::bit_cast<std::uint32_t>(a), std::bit_cast<std::uint32_t>(b)) << "row " << picked[i] << " output " << j;
    }
  }
}

TEST(Gemm, ARowsBitsAreItsOwn) {
  for (const Precision precision : {Precision::kBfloat16, Precision::kFloat32}) {
    const Product all({70, 70, 48, 136}, precision, 5);
    const std::vector<float> expected = all.run(nullptr);
    std::mt19937 generator(7);
    for (std::int64_t rows = 1; rows <= 70; ++rows) {
      std::vector<std::int64_t> picked;
      for (std::int64_t i = 0; i < rows; ++i) {
        picked.push_back(static_cast<std::int64_t>(generator() % 70));
      }
      const Product some = pick(all, picked);
      expect_same_bits(some.run(&kTiles[rows % 3]), picked, expected, 48);
    }
  }
}

TEST(Gemm, ANeighbourThatIsNoNumberDoesNoHarm) {
  Product all({20, 20, 16, 64}, Precision::kBfloat16, 9);
  const std::vector<float> clean = all.run(nullptr);
  for (std::int64_t i = 0; i < 64; ++i) {
    all.x[static_cast<std::size_t>(3 * 64 + i)] = NAN;
  }
  const std::vector<float> found = all.run(nullptr);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (i / 16 == 3) {
      EXPECT_TRUE(std::isnan(found[i]));
    } else {
      EXPECT_EQ(found[i], clean[i]);
    }
  }
}

TEST(Gemm, TilesAreChosenByShape) {
  EXPECT_EQ(choose_dense_tile(1, 2048), TileSize::kFew);
  EXPECT_EQ(choose_dense_tile(32, 6144), TileSize::kFew);
  EXPECT_EQ(choose_dense_tile(32, 16384), TileSize::kNarrow);
  EXPECT_EQ(choose_dense_tile(1024, 2048), TileSize::kNarrow);
  EXPECT_EQ(choose_dense_tile(8192, 2048), TileSize::kWide);
  EXPECT_FALSE(divides_experts(256, 64));
  EXPECT_TRUE(divides_experts(8192, 64));
  EXPECT_FALSE(divides_experts(0, 0));
  EXPECT_EQ(most_grouped_tiles(0, 64, 64), 0);
  EXPECT_EQ(most_grouped_tiles(1, 64, 64), 1);
  EXPECT_EQ(most_grouped_tiles(65, 1, 64), 2);
  EXPECT_EQ(most_grouped_tiles(256, 64, 64), 67);
  EXPECT_EQ(most_grouped_tiles(256, 64, 64, ExpertSize::kSmall), 64);
  EXPECT_EQ(most_grouped_tiles(64, 64, 128, ExpertSize::kLarge), 0);
  EXPECT_EQ(most_grouped_tiles(195, 64, 128, ExpertSize::kLarge), 4);  // a bound: three are the most
}

}  // namespace
}  // namespace unmask::experts::cuda
