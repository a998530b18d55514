// SPDX-License-Identifier: Apache-2.0
// embed, rms_norm, gather_rows, join_sides: right, nothing written past the real rows, and a row's bits are its own.
#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

#include "product_testing.h"

namespace unmask::experts::cuda {
namespace {

constexpr float kUntouched = -77;
using Numbers = std::vector<std::int32_t>;

std::vector<float> untouched(std::int64_t count) { return std::vector<float>(static_cast<std::size_t>(count), kUntouched); }

Array<std::int32_t> count_of(std::int64_t rows) { return on_device(Numbers{static_cast<std::int32_t>(rows)}); }

float as(Precision precision, float x) { return precision == Precision::kFloat32 ? x : round_to_bfloat16(x); }

/// rows of the batch, values of a row
class RowsTest : public testing::TestWithParam<std::tuple<std::int64_t, std::int64_t>> {
 protected:
  std::int64_t rows = std::get<0>(GetParam()), cols = std::get<1>(GetParam());
  std::int64_t most = rows + 3;
  Array<std::int32_t> real = count_of(rows);
  std::vector<float> x = random_values(most * cols, 1);

  float at(const std::vector<float>& values, std::int64_t row, std::int64_t col) const {
    return values[static_cast<std::size_t>(row * cols + col)];
  }
  /// y [most, cols] is expected(row, col) in the real rows and untouched behind them.
  template <class Expected>
  void expect_rows(const std::vector<float>& y, const Expected& expected) const {
    for (std::int64_t r = 0; r < most; ++r) {
      for (std::int64_t c = 0; c < cols; ++c) {
        ASSERT_EQ(at(y, r, c), r < rows ? expected(r, c) : kUntouched) << "row " << r << " column " << c;
      }
    }
  }
  /// Row i takes row most - 1 - i.
  Numbers backwards() const {
    Numbers picked;
    for (std::int64_t i = 0; i < most; ++i) {
      picked.push_back(static_cast<std::int32_t>(most - 1 - i));
    }
    return picked;
  }
};

TEST_P(RowsTest, Embeds) {
  const auto table = random_values(most * cols, 2);
  const auto weights = random_values(most, 3);
  const auto embedding = on_device(rounded(table));
  const auto tokens = on_device(backwards());
  Numbers places = backwards();
  for (std::size_t i = 0; i < places.size(); i += 2) {
    places[i] = -1;
  }
  const auto device_places = on_device(places);
  const auto device_weights = on_device(weights);
  const auto added = on_device(x);
  auto residual = on_device(untouched(most * cols));
  embed({.embedding = embedding.data(), .hidden = cols, .rows = {real.data(), most}, .tokens = tokens.data(), .places = device_places.data(),
         .weights = device_weights.data(), .added = added.data(), .residual = residual.data()}, nullptr);
  expect_rows(from_device(residual.data(), most * cols), [&](std::int64_t r, std::int64_t c) {
    const float value = at(table, most - 1 - r, c);
    const auto place = places[static_cast<std::size_t>(r)];
    if (place < 0) {
      return value;
    }
    const float product = weights[static_cast<std::size_t>(r)] * at(x, place, c);
    return value + product;
  });
}

TEST_P(RowsTest, Gathers) {
  const auto from = on_device(x);
  const auto picked = on_device(backwards());
  auto y = on_device(untouched(most * cols));
  gather_rows({.x = from.data(), .cols = cols, .rows = {real.data(), most}, .picked = picked.data(), .y = y.data()}, nullptr);
  expect_rows(from_device(y.data(), most * cols), [&](std::int64_t r, std::int64_t c) { return at(x, most - 1 - r, c); });
}

TEST_P(RowsTest, JoinsSides) {
  const auto from = on_device(x);
  const auto a = on_device(backwards());
  Numbers others = backwards();
  std::reverse(others.begin(), others.end());
  for (std::size_t i = 1; i < others.size(); i += 2) {
    others[i] = -1;
  }
  const auto b = on_device(others);
  const auto weights = random_values(most, 4);
  const auto device_weights = on_device(weights);
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    DeviceValues y(untouched(most * cols), precision);
    join_sides({.x = from.data(), .cols = cols, .rows = {real.data(), most}, .a = a.data(), .b = b.data(), .weights = device_weights.data(),
                .y = y}, nullptr);
    expect_rows(y.values(), [&](std::int64_t r, std::int64_t c) {
      const float mine = at(x, most - 1 - r, c);
      if (others[static_cast<std::size_t>(r)] < 0) {
        return as(precision, mine);
      }
      const float other = at(x, r, c);
      const float product = weights[static_cast<std::size_t>(r)] * (mine - other);
      return as(precision, other + product);
    });
  }
}

TEST_P(RowsTest, Norms) {
  constexpr float kEps = 1e-5F;
  const auto from = on_device(x);
  const auto weights = random_values(cols, 5);
  const auto weight = on_device(weights);
  const auto picked = on_device(backwards());
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    for (const bool picks : {false, true}) {
      DeviceValues y(untouched(most * cols), precision);
      const NormProblem problem{.x = from.data(), .cols = cols, .rows = {real.data(), most}, .picked = picks ? picked.data() : nullptr,
                                .weight = weight.data(), .eps = kEps, .y = y};
      rms_norm(problem, nullptr);
      const auto values = y.values();
      for (std::int64_t r = 0; r < most; ++r) {
        const std::int64_t source = picks ? most - 1 - r : r;
        double squares = 0;
        for (std::int64_t c = 0; c < cols; ++c) {
          squares += static_cast<double>(at(x, source, c)) * static_cast<double>(at(x, source, c));
        }
        const double scale = 1.0 / std::sqrt(squares / static_cast<double>(cols) + static_cast<double>(kEps));
        for (std::int64_t c = 0; c < cols; ++c) {
          if (r >= rows) {
            ASSERT_EQ(at(values, r, c), kUntouched);
            continue;
          }
          const double exact = static_cast<double>(at(x, source, c)) * scale * static_cast<double>(weights[static_cast<std::size_t>(c)]);
          // half of the sum's relative error, the roundings behind it, and that of the output
          const double bound = std::abs(exact) * (static_cast<double>(cols) / 2 + 6) * 0x1p-24 + 1.01 * rounding(exact, precision);
          ASSERT_NEAR(at(values, r, c), exact, bound) << "row " << r << " column " << c;
        }
      }
    }
  }
}

/// The last real row alone gives the same bits as among the others.
TEST_P(RowsTest, NormOfARowIsItsOwn) {
  const auto from = on_device(x);
  const auto weight = on_device(random_values(cols, 5));
  const auto one = count_of(1);
  const auto last = on_device(Numbers{static_cast<std::int32_t>(std::max<std::int64_t>(rows - 1, 0))});
  DeviceValues all(untouched(most * cols), Precision::kFloat32), alone(untouched(cols), Precision::kFloat32);
  rms_norm({.x = from.data(), .cols = cols, .rows = {real.data(), most}, .picked = nullptr, .weight = weight.data(), .eps = 0, .y = all}, nullptr);
  rms_norm({.x = from.data(), .cols = cols, .rows = {one.data(), 1}, .picked = last.data(), .weight = weight.data(), .eps = 0, .y = alone}, nullptr);
  if (rows > 0) {
    EXPECT_EQ(std::memcmp(all.values().data() + (rows - 1) * cols, alone.values().data(), static_cast<std::size_t>(cols) * sizeof(float)), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, RowsTest, testing::Combine(testing::Values(0, 1, 3, 40), testing::Values(8, 96, 2056)));

}  // namespace
}  // namespace unmask::experts::cuda
