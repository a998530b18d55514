// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "base/aligned_buffer.h"
#include "experts/kernels.h"

namespace unmask::experts {
namespace {

class AttentionKernelsTest : public testing::TestWithParam<const KernelFamily*> {
 protected:
  void SetUp() override {
    if (!GetParam()->supported()) {
      GTEST_SKIP() << GetParam()->name << " needs " << GetParam()->needs;
    }
  }
};

std::vector<float> rounded_values(std::int64_t count, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> v(size(count));
  std::generate(v.begin(), v.end(), [&] { return round_to_bfloat16(normal(random)); });
  return v;
}

AlignedBuffer<std::byte> attention_room(const KernelFamily& family, std::int64_t num_keys, std::int64_t head_dim) {
  return AlignedBuffer<std::byte>(family.attention_workspace == nullptr ? 0 : family.attention_workspace(num_keys, head_dim));
}

/// Queries alone and among others, from 1 to 70 of them, and further keys that only lie in memory: the same bits.
TEST_P(AttentionKernelsTest, AttentionOfAQueryDoesNotDependOnTheOthers) {
  constexpr std::int64_t kDim = 48, kRows = 70, kKeys = 600;
  std::mt19937 random(9);
  const auto q = rounded_values(kRows * kDim, random);
  auto k = rounded_values((kKeys + 1) * kDim, random), v = rounded_values((kKeys + 1) * kDim, random);
  std::fill(k.end() - kDim, k.end(), NAN);
  std::fill(v.end() - kDim, v.end(), NAN);
  auto room = attention_room(*GetParam(), kKeys, kDim);
  for (const std::int64_t num_keys : {std::int64_t{1}, std::int64_t{64}, std::int64_t{135}, std::int64_t{273}, kKeys}) {
    AttentionProblem a{.q = q.data(), .q_stride = kDim, .rows = 1, .k = k.data(), .v = v.data(), .kv_stride = kDim,
                       .num_keys = num_keys, .head_dim = kDim, .scale = 0.2F, .precision = Precision::kBfloat16, .out = nullptr,
                       .out_stride = kDim, .workspace = room.data()};
    std::vector<float> alone(size(kRows * kDim));
    for (std::int64_t r = 0; r < kRows; ++r) {
      a.q = q.data() + r * kDim;
      a.out = alone.data() + r * kDim;
      GetParam()->attend(a);
      EXPECT_TRUE(std::isfinite(*a.out));
    }
    a.q = q.data();
    for (a.rows = 2; a.rows <= kRows; ++a.rows) {
      std::vector<float> all(size(a.rows * kDim));
      a.out = all.data();
      GetParam()->attend(a);
      EXPECT_TRUE(std::equal(all.begin(), all.end(), alone.begin())) << a.rows << " rows, " << num_keys << " keys";
    }
  }
}

/// Scores that grow from block to block make the running softmax scale what it has, again and again; some rows only.
TEST_P(AttentionKernelsTest, AttentionFollowsGrowingScores) {
  constexpr std::int64_t kDim = 32, kRows = 20, kKeys = 1100;
  std::mt19937 random(10);
  auto q = rounded_values(kRows * kDim, random);
  auto k = rounded_values(kKeys * kDim, random);
  const auto v = rounded_values(kKeys * kDim, random);
  for (std::int64_t r = 0; r < kRows; ++r) {
    q[size(r * kDim)] = static_cast<float>(r % 5);
  }
  for (std::int64_t j = 0; j < kKeys; ++j) {
    k[size(j * kDim)] = round_to_bfloat16(static_cast<float>(j) / 16);
  }
  auto room = attention_room(*GetParam(), kKeys, kDim);
  std::vector<float> out(size(kRows * kDim));
  GetParam()->attend({.q = q.data(), .q_stride = kDim, .rows = kRows, .k = k.data(), .v = v.data(), .kv_stride = kDim,
                      .num_keys = kKeys, .head_dim = kDim, .scale = 0.7F, .precision = Precision::kBfloat16, .out = out.data(),
                      .out_stride = kDim, .workspace = room.data()});
  for (std::int64_t r = 0; r < kRows; ++r) {
    std::vector<double> score(kKeys), sums(kDim);
    for (std::int64_t j = 0; j < kKeys; ++j) {
      for (std::int64_t d = 0; d < kDim; ++d) {
        score[size(j)] += 0.7 * double{q[size(r * kDim + d)]} * double{k[size(j * kDim + d)]};
      }
    }
    const double top = *std::max_element(score.begin(), score.end());
    double total = 0;
    for (std::int64_t j = 0; j < kKeys; ++j) {
      const double weight = std::exp(score[size(j)] - top);
      total += weight;
      for (std::int64_t d = 0; d < kDim; ++d) {
        sums[size(d)] += weight * double{v[size(j * kDim + d)]};
      }
    }
    for (std::int64_t d = 0; d < kDim; ++d) {  // values up to some 4, each weight and the result rounded to 8 bits
      EXPECT_NEAR(out[size(r * kDim + d)], sums[size(d)] / total, 4 * 3 * 0x1p-9) << "row " << r;
    }
  }
}

/// A score that is not a number is its own row's affair.
TEST_P(AttentionKernelsTest, AttentionKeepsNotANumber) {
  constexpr std::int64_t kDim = 32, kRows = 3, kKeys = 40;
  std::mt19937 random(11);
  auto q = rounded_values(kRows * kDim, random);
  const auto k = rounded_values(kKeys * kDim, random), v = rounded_values(kKeys * kDim, random);
  q[kDim + 5] = NAN;
  auto room = attention_room(*GetParam(), kKeys, kDim);
  std::vector<float> out(size(kRows * kDim));
  GetParam()->attend({.q = q.data(), .q_stride = kDim, .rows = kRows, .k = k.data(), .v = v.data(), .kv_stride = kDim,
                      .num_keys = kKeys, .head_dim = kDim, .scale = 0.2F, .precision = Precision::kBfloat16, .out = out.data(),
                      .out_stride = kDim, .workspace = room.data()});
  EXPECT_TRUE(std::isfinite(out[0]) && std::isnan(out[kDim]) && std::isfinite(out[2 * kDim]));
}

/// Norm, rotation and rounding against plain double precision, for widths with and without whole vectors.
TEST_P(AttentionKernelsTest, PreparesHeads) {
  std::mt19937 random(12);
  std::normal_distribution<float> normal;
  for (const std::int64_t dim : {2, 22, 36, 64, 128}) {
    constexpr std::int64_t kRows = 5, kPositions = 9;
    const std::int64_t stride = dim + 3;
    std::vector<float> x(size(kRows * stride)), norm(size(dim)), cos(size(kPositions * dim / 2)), sin(cos.size());
    for (auto* values : {&x, &norm, &cos, &sin}) {
      std::generate(values->begin(), values->end(), [&] { return normal(random); });
    }
    const std::vector<std::int64_t> positions = {3, 4, 8, 0, 0};
    std::vector<float> y(size(kRows * dim));
    std::vector<bfloat16> y16(y.size());
    HeadProblem h{.x = x.data(), .x_stride = stride, .rows = kRows, .dim = dim, .norm = norm.data(), .eps = 1e-3F, .cos = cos.data(),
                  .sin = sin.data(), .positions = positions.data(), .precision = Precision::kFloat32, .y = y.data(), .y16 = nullptr};
    GetParam()->prepare_head(h);
    for (std::int64_t r = 0; r < kRows; ++r) {
      double squares = 0;
      for (std::int64_t i = 0; i < dim; ++i) {
        squares += std::pow(double{x[size(r * stride + i)]}, 2);
      }
      const double scale = 1 / std::sqrt(squares / static_cast<double>(dim) + 1e-3);
      for (std::int64_t i = 0; i < dim / 2; ++i) {
        const double a = x[size(r * stride + i)] * scale * norm[size(i)];
        const double b = x[size(r * stride + dim / 2 + i)] * scale * norm[size(dim / 2 + i)];
        const double c = cos[size(positions[size(r)] * dim / 2 + i)], s = sin[size(positions[size(r)] * dim / 2 + i)];
        EXPECT_NEAR(y[size(r * dim + i)], a * c - b * s, 1e-4) << "row " << r << " of " << dim;
        EXPECT_NEAR(y[size(r * dim + dim / 2 + i)], b * c + a * s, 1e-4) << "row " << r << " of " << dim;
      }
    }
    h.precision = Precision::kBfloat16;
    h.y = nullptr;
    h.y16 = y16.data();
    GetParam()->prepare_head(h);
    EXPECT_TRUE(std::equal(y.begin(), y.end(), y16.begin(), [](float wide, bfloat16 narrow) { return to_bfloat16(wide).bits == narrow.bits; }));
  }
}

/// Values are only rounded: ties to even, and what is not a number stays so.
TEST_P(AttentionKernelsTest, RoundsValuesAsTheStorageDoes) {
  std::vector<float> x = {1.0F, 1.00390625F, 1.01171875F, -3.1415927F, NAN, INFINITY, -0.0F, 3.4e38F, 1e-40F};
  x.resize(20, 0.1F);
  std::vector<bfloat16> y(x.size());
  GetParam()->prepare_head({.x = x.data(), .x_stride = 20, .rows = 1, .dim = 20, .norm = nullptr, .eps = 0, .cos = nullptr, .sin = nullptr,
                            .positions = nullptr, .precision = Precision::kBfloat16, .y = nullptr, .y16 = y.data()});
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_TRUE(to_bfloat16(x[i]).bits == y[i].bits || (std::isnan(x[i]) && std::isnan(to_float(y[i])))) << x[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Families, AttentionKernelsTest, testing::ValuesIn(kernel_families().begin(), kernel_families().end()),
                         [](const auto& instance) { return std::string(instance.param->name); });

}  // namespace
}  // namespace unmask::experts
