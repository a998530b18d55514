// SPDX-License-Identifier: Apache-2.0
#include "experts/quantised.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "base/types.h"

namespace unmask::experts {
namespace {

struct Case {
  WeightType type;
  std::int64_t rows, cols;
};

std::vector<bfloat16> random_values(std::int64_t count, float scale, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<bfloat16> values(size(count));
  std::generate(values.begin(), values.end(), [&] { return to_bfloat16(normal(random)); });
  return values;
}

Matrix quantised(const std::vector<bfloat16>& values, const Case& c) {
  Matrix m(c.rows, c.cols, c.type);
  for (std::int64_t p = m.num_panels() - 1; p >= 0; --p) {
    quantise_panel(values.data() + p * kPanelRows * c.cols, p, m);
  }
  return m;
}

std::vector<bfloat16> expanded(const Matrix& m) {
  std::vector<bfloat16> rows(size(m.rows() * m.cols()));
  expand_rows(m, 0, m.rows(), rows.data());
  return rows;
}

class QuantisedTest : public testing::TestWithParam<Case> {};

/// Half a step of the group's scale, and the rounding to bfloat16: no value is further away; none at all where it is the
/// group's largest and int4 maps it to -8.
TEST_P(QuantisedTest, ValuesComeBackWithinHalfAStep) {
  const Case& c = GetParam();
  const auto values = random_values(c.rows * c.cols, 0.05F, 3);
  const auto got = expanded(quantised(values, c));
  const std::int64_t group = quantised_form(c.type).group;
  double error = 0, norm = 0;
  for (std::int64_t r = 0; r < c.rows; ++r) {
    for (std::int64_t begin = 0; begin < c.cols; begin += group) {
      const std::int64_t end = std::min(c.cols, begin + group);
      float most = 0;
      for (std::int64_t k = begin; k < end; ++k) {
        most = std::max(most, std::abs(to_float(values[size(r * c.cols + k)])));
      }
      for (std::int64_t k = begin; k < end; ++k) {
        const float value = to_float(values[size(r * c.cols + k)]), back = to_float(got[size(r * c.cols + k)]);
        // int8: a step of most / 127, its scale rounded to 8 bits. int4: most / 8, to 5 bits, at worst 0.8 of it and clipped.
        const float bound = c.type == WeightType::kInt8 ? most * (0.5F / 127 + 0x1p-8F) : most * 0.26F;
        EXPECT_LE(std::abs(value - back), bound) << r << ", " << k;
        error += std::pow(double{value} - double{back}, 2);
        norm += std::pow(double{value}, 2);
      }
    }
  }
  // Normal values in groups of 64 and 32 lose 0.62 % and 8.4 %; fewer values in a group lose less.
  EXPECT_LE(std::sqrt(error / norm), c.type == WeightType::kInt8 ? 0.0075 : 0.095);
}

TEST_P(QuantisedTest, BytesAreThoseThatAreAnnounced) {
  const Case& c = GetParam();
  const Matrix m(c.rows, c.cols, c.type);
  const QuantisedForm form = quantised_form(c.type);
  EXPECT_EQ(m.bytes(), stored_bytes(c.type, c.rows, c.cols));
  EXPECT_EQ(m.bytes(), whole(c.rows, 16) * whole(c.cols, 2 * form.group) * form.block_bytes());
  EXPECT_EQ(form.block_tiles * kTileCols, 2 * form.group);
  EXPECT_EQ(m.layout(), Layout::kQuantised);
  EXPECT_ANY_THROW(m.row(0));
  EXPECT_ANY_THROW(m.panel(0));
}

TEST_P(QuantisedTest, PanelsDependOnTheirOwnRowsAlone) {
  const Case& c = GetParam();
  auto values = random_values(c.rows * c.cols, 0.05F, 4);
  const Matrix before = quantised(values, c);
  std::fill(values.begin(), values.begin() + std::min<std::int64_t>(c.rows, 16) * c.cols, to_bfloat16(7.0F));
  const Matrix after = quantised(values, c);
  for (std::int64_t p = 0; p < before.num_panels(); ++p) {
    const bool same = std::memcmp(before.quantised_panel(p), after.quantised_panel(p), size(quantised_panel_bytes(c.type, c.cols))) == 0;
    EXPECT_EQ(same, p > 0) << "panel " << p;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, QuantisedTest,
                         testing::Values(Case{WeightType::kInt8, 1, 1}, Case{WeightType::kInt8, 17, 63}, Case{WeightType::kInt8, 40, 200},
                                         Case{WeightType::kInt8, 64, 256}, Case{WeightType::kInt4, 1, 1},
                                         Case{WeightType::kInt4, 17, 31}, Case{WeightType::kInt4, 40, 200},
                                         Case{WeightType::kInt4, 64, 256}));

/// Whatever finite weights a file holds: finite, of the same sign, never larger than twice.
TEST(Quantised, TakesEveryFiniteValue) {
  for (const WeightType type : {WeightType::kInt8, WeightType::kInt4}) {
    for (const float special : {0.0F, -0.0F, 1e-40F, 0x1p-126F, 0x1p-101F, 0x1p-100F, 1e-20F, 1.0F, 1e20F, 0x1.fep127F, -0x1.fep127F}) {
      for (const float other : {0.0F, 1.0F, -1e-30F, -0x1.fep127F}) {
        std::vector<bfloat16> values(16 * 64, to_bfloat16(other));
        values[5] = to_bfloat16(special);
        const Matrix m = quantised(values, {type, 16, 64});
        EXPECT_TRUE(scales_are_valid(type, m.quantised_panel(0), m.bytes()));
        for (const bfloat16 value : expanded(m)) {
          EXPECT_TRUE(std::isfinite(to_float(value))) << special << ", " << other;
          EXPECT_TRUE((value.bits & 0x7fff) == 0 || std::isnormal(to_float(value)));
        }
      }
    }
  }
}

/// Ties of number * scale in bfloat16 go away from zero in all kernels: 33 * 1.0078125 is 33.2578125, between 33.25 and 33.5.
TEST(Quantised, RoundsToNearestBfloat16) {
  Matrix m(16, 64, WeightType::kInt8);
  std::memset(m.quantised_panel(0), 0, size(m.bytes()));
  const bfloat16 scale = to_bfloat16(1.5F);
  std::memcpy(m.quantised_panel(0), &scale, sizeof(scale));
  // Input k of output 0 is byte 16 k behind the scales. 1.5 * 87 = 130.5: between 130 and 131 of 8 bits.
  m.quantised_panel(0)[64] = std::byte{87};
  m.quantised_panel(0)[64 + 16] = std::byte{256 - 87};
  m.quantised_panel(0)[64 + 32] = std::byte{2};
  const auto rows = expanded(m);
  EXPECT_EQ(to_float(rows[0]), 131.0F);
  EXPECT_EQ(to_float(rows[1]), -131.0F);
  EXPECT_EQ(to_float(rows[2]), 3.0F);
}

TEST(Quantised, ScalesOfAFileMustBeSuchAsAreMade) {
  for (const auto& [type, scale, valid] : {std::tuple{WeightType::kInt8, 0.01F, true}, {WeightType::kInt8, INFINITY, false},
                                           {WeightType::kInt8, NAN, false}, {WeightType::kInt8, 0x1p121F, false},
                                           {WeightType::kInt8, 0x1p-120F, false}, {WeightType::kInt4, -1.0625F, true},
                                           {WeightType::kInt4, 1.0078125F, false}, {WeightType::kInt4, 0.0F, true}}) {
    Matrix m(16, 256, type);
    std::memset(m.quantised_panel(0), 0, size(m.bytes()));
    const bfloat16 bits = to_bfloat16(scale);
    std::memcpy(m.quantised_panel(0) + quantised_form(type).block_bytes() + 62, &bits, sizeof(bits));
    EXPECT_EQ(scales_are_valid(type, m.quantised_panel(0), m.bytes()), valid) << scale;
  }
}

}  // namespace
}  // namespace unmask::experts
