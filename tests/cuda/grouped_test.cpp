// SPDX-License-Identifier: Apache-2.0
// grouped_gate_up() and grouped_down(): idle experts, one pair, all pairs to one, chunks; and a pair's bits its own.
#include <bit>
#include <tuple>

#include <gtest/gtest.h>

#include "experts/cuda/tiled.h"
#include "experts/quantised.h"
#include "product_testing.h"

namespace unmask::experts::cuda {
namespace {

constexpr float kUntouched = -77;
constexpr TileSize kTiles[] = {TileSize::kNarrow, TileSize::kWide};

bool has_wgmma() {
  cudaDeviceProp device{};
  check(cudaGetDeviceProperties(&device, 0), "cudaGetDeviceProperties");
  return device.major == 9 && device.minor == 0;
}

/// `count` matrices [rows, cols], one behind the other, as a device takes them; of int8, `values` become what the numbers stand for.
std::vector<std::byte> stored_matrices(std::vector<float>& values, std::int64_t count, std::int64_t rows, std::int64_t cols, WeightType type) {
  std::vector<std::byte> bytes;
  for (std::int64_t i = 0; i < count; ++i) {
    float* const mine = values.data() + i * rows * cols;
    const std::vector<bfloat16> weights = rounded({mine, mine + rows * cols});
    Matrix matrix(rows, cols, type);
    if (type == WeightType::kBf16) {
      std::copy(weights.begin(), weights.end(), matrix.data());
    } else {
      for (std::int64_t p = 0; p < matrix.num_panels(); ++p) {
        quantise_panel(weights.data() + p * kPanelRows * cols, p, matrix);
      }
      std::vector<bfloat16> expanded(weights.size());
      expand_rows(matrix, 0, rows, expanded.data());
      std::transform(expanded.begin(), expanded.end(), mine, to_float);
    }
    const auto* const from = reinterpret_cast<const std::byte*>(matrix.data());
    bytes.insert(bytes.end(), from, from + matrix.bytes());
  }
  return bytes;
}

struct Experts {
  std::int64_t hidden, width;
  Precision precision;
  WeightType type;
  GroupedKernel kernel = GroupedKernel::kMma;
  std::vector<std::byte> stored_gate_up, stored_down;
  std::vector<std::int32_t> offsets{0};
  std::vector<std::int32_t> pair_rows;
  std::vector<float> x, gate_up, down, weights;
  std::int64_t most_pairs = 0;

  /// counts: pairs of each expert. Rows are drawn from `rows`.
  Experts(std::int64_t hidden_, std::int64_t width_, Precision p, const std::vector<std::int32_t>& counts, std::int64_t rows, std::int64_t spare,
          WeightType type_ = WeightType::kBf16)
      : hidden(hidden_), width(width_), precision(p), type(type_), x(random_values(rows * hidden_, 1)) {
    std::mt19937 generator(5);
    for (const std::int32_t count : counts) {
      offsets.push_back(offsets.back() + count);
      for (std::int32_t i = 0; i < count; ++i) {
        pair_rows.push_back(static_cast<std::int32_t>(generator() % static_cast<unsigned>(rows)));
      }
    }
    const auto experts = static_cast<std::int64_t>(counts.size());
    gate_up = random_values(experts * 2 * width * hidden, 2);
    down = random_values(experts * hidden * width, 3);
    weights = random_values(offsets.back(), 4);
    most_pairs = offsets.back() + spare;
    store();
  }
  void store() {
    stored_gate_up = stored_matrices(gate_up, 2 * num_experts(), width, hidden, type);
    stored_down = stored_matrices(down, num_experts(), hidden, width, type);
  }
  std::int64_t num_pairs() const { return offsets.back(); }
  std::int64_t num_experts() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t expert_of(std::int64_t pair) const { return std::upper_bound(offsets.begin(), offsets.end(), pair) - offsets.begin() - 1; }

  std::vector<float> run_gate_up(const TileSize* tile) const {
    DeviceValues device_x(x, precision);
    DeviceValues h(std::vector<float>(static_cast<std::size_t>(most_pairs * width), kUntouched), precision);
    const Array<std::byte> w = on_device(stored_gate_up);
    Array<std::int32_t> device_offsets = on_device(offsets);
    Array<std::int32_t> rows = on_device(pair_rows);
    const GroupedGateUpProblem problem{.x = device_x, .hidden = hidden, .width = width, .weights = {w.data(), type}, .num_local = num_experts(),
                                       .offsets = device_offsets.data(), .pair_rows = rows.data(), .most_pairs = most_pairs, .h = h, .kernel = kernel};
    tile == nullptr ? grouped_gate_up(problem, nullptr) : grouped_gate_up_by(*tile, problem, nullptr);
    return h.values();
  }

  /// In chunks of `chunk` experts.
  std::vector<float> run_down(const std::vector<float>& h, const TileSize* tile, std::int64_t chunk) const {
    DeviceValues device_h(h, precision);
    const Array<std::byte> w = on_device(stored_down);
    Array<std::int32_t> device_offsets = on_device(offsets);
    Array<float> pair_weights = on_device(weights);
    Array<float> y = on_device(std::vector<float>(static_cast<std::size_t>(most_pairs * hidden), kUntouched));
    for (std::int64_t first = 0; first < num_experts(); first += chunk) {
      const GroupedDownProblem problem{.h = device_h, .hidden = hidden, .width = width, .weights = {w.data(), type}, .num_local = num_experts(),
                                       .first_expert = first, .last_expert = std::min(first + chunk, num_experts()),
                                       .offsets = device_offsets.data(), .pair_weights = pair_weights.data(), .most_pairs = most_pairs, .y = y.data(), .kernel = kernel};
      tile == nullptr ? grouped_down(problem, nullptr) : grouped_down_by(*tile, problem, nullptr);
    }
    return from_device(y.data(), most_pairs * hidden);
  }

  void expect_gate_up(const std::vector<float>& h) const {
    for (std::int64_t p = 0; p < most_pairs; ++p) {
      for (std::int64_t n = 0; n < width; ++n) {
        const float found = h[static_cast<std::size_t>(p * width + n)];
        if (p >= num_pairs()) {
          ASSERT_EQ(found, kUntouched) << "pair " << p;
          continue;
        }
        const float* row = x.data() + pair_rows[static_cast<std::size_t>(p)] * hidden;
        const float* gate = gate_up.data() + (expert_of(p) * 2 * width + n) * hidden;
        const ExactSum g = exact_product(row, gate, hidden);
        const ExactSum u = exact_product(row, gate + width * hidden, hidden);
        const double silu = g.value / (1 + std::exp(-g.value));
        // silu's slope is at most 1.1; of its own it is off by a few units of float32 times the exponent's size.
        const double silu_error = 1.1 * g.bound(hidden) + std::ldexp(8 + std::abs(g.value), -23) * std::abs(silu);
        const double error = silu_error * std::abs(u.value) + std::abs(silu) * u.bound(hidden) + silu_error * u.bound(hidden);
        ASSERT_NEAR(found, silu * u.value, error + 1.01 * rounding(std::abs(silu * u.value) + error, precision)) << "pair " << p << " output " << n;
      }
    }
  }
  void expect_down(const std::vector<float>& h, const std::vector<float>& y) const {
    for (std::int64_t p = 0; p < most_pairs; ++p) {
      for (std::int64_t n = 0; n < hidden; ++n) {
        const float found = y[static_cast<std::size_t>(p * hidden + n)];
        if (p >= num_pairs()) {
          ASSERT_EQ(found, kUntouched) << "pair " << p;
          continue;
        }
        const ExactSum sum = exact_product(h.data() + p * width, down.data() + (expert_of(p) * hidden + n) * width, width);
        const auto weight = static_cast<double>(weights[static_cast<std::size_t>(p)]);
        ASSERT_NEAR(found, weight * sum.value, std::abs(weight) * sum.bound(width + 1)) << "pair " << p << " output " << n;
      }
    }
  }
};

struct Case {
  std::int64_t hidden, width;
  std::vector<std::int32_t> counts;
  std::int64_t spare;
};

std::vector<Case> cases() {
  std::vector<std::int32_t> many(70, 1);  // experts
  many[3] = 0;
  many[33] = 40;
  return {{64, 64, {0, 0, 0}, 3}, {64, 64, {0, 1, 0, 2}, 0},    {72, 40, {5, 0, 67, 3}, 9}, {72, 72, {130}, 1},
          {200, 8, {0, 129, 0}, 0}, {8, 24, many, 2}, {64, 136, {64, 65, 0, 1, 129, 63}, 40}};
}

TEST(Grouped, MatchesTheExactProducts) {
  for (const Case& c : cases()) {
    for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
      SCOPED_TRACE(testing::Message() << "hidden " << c.hidden << " width " << c.width << " experts " << c.counts.size()
                                      << (precision == Precision::kFloat32 ? " float32" : " bfloat16"));
      const Experts experts(c.hidden, c.width, precision, c.counts, 37, c.spare);
      const std::vector<float> h = experts.run_gate_up(nullptr);
      experts.expect_gate_up(h);
      const std::vector<float> y = experts.run_down(h, nullptr, experts.num_experts());
      experts.expect_down(h, y);
      EXPECT_EQ(experts.run_down(h, nullptr, 2), y) << "in chunks";
      for (const TileSize& tile : kTiles) {
        if (precision == Precision::kFloat32) {
          break;  // which has one tile
        }
        EXPECT_EQ(experts.run_gate_up(&tile), h);
        EXPECT_EQ(experts.run_down(h, &tile, experts.num_experts()), y);
      }
    }
  }
}

/// Tiles of 64 and of 256 pairs must have the same bits, and a pair's must be its own, also among more than one tile holds.
TEST(Grouped, WgmmaMatchesTheExactProducts) {
  if (!has_wgmma()) {
    GTEST_SKIP() << "needs compute capability 9.0";
  }
  std::vector<Case> all = cases();
  all.push_back({320, 72, {0, 300, 7}, 3});  // more stages than the ring has, more pairs than a tile
  for (const Case& c : all) {
    SCOPED_TRACE(testing::Message() << "hidden " << c.hidden << " width " << c.width << " experts " << c.counts.size());
    Experts experts(c.hidden, c.width, Precision::kBfloat16, c.counts, 37, c.spare);
    experts.kernel = GroupedKernel::kWgmma;
    const std::vector<float> h = experts.run_gate_up(nullptr);
    experts.expect_gate_up(h);
    const std::vector<float> y = experts.run_down(h, nullptr, experts.num_experts());
    experts.expect_down(h, y);
    EXPECT_EQ(experts.run_down(h, nullptr, 2), y) << "in chunks";
    for (const TileSize& tile : kTiles) {
      EXPECT_EQ(experts.run_gate_up(&tile), h);
      EXPECT_EQ(experts.run_down(h, &tile, experts.num_experts()), y);
    }
  }
}

/// Weights of int8 give the bits of the bfloat16 ones that they stand for, with any tile: so all that holds of those holds of these.
TEST(Grouped, Int8HasTheBitsOfWhatItStandsFor) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(testing::Message() << "hidden " << c.hidden << " width " << c.width << " experts " << c.counts.size());
    const Experts int8(c.hidden, c.width, Precision::kBfloat16, c.counts, 37, c.spare, WeightType::kInt8);
    Experts expanded(c.hidden, c.width, Precision::kBfloat16, c.counts, 37, c.spare);
    EXPECT_NE(expanded.gate_up, int8.gate_up) << "quantising loses something";
    expanded.gate_up = int8.gate_up;
    expanded.down = int8.down;
    expanded.store();
    const std::vector<float> h = int8.run_gate_up(nullptr);
    int8.expect_gate_up(h);
    EXPECT_EQ(h, expanded.run_gate_up(nullptr));
    const std::vector<float> y = int8.run_down(h, nullptr, int8.num_experts());
    int8.expect_down(h, y);
    EXPECT_EQ(y, expanded.run_down(h, nullptr, int8.num_experts()));
    EXPECT_EQ(int8.run_down(h, nullptr, 2), y) << "in chunks";
    for (const TileSize& tile : kTiles) {
      EXPECT_EQ(int8.run_gate_up(&tile), h);
      EXPECT_EQ(int8.run_down(h, &tile, int8.num_experts()), y);
    }
  }
}

/// Scales from the least to the largest, all numbers, ties: what a weight stands for is what the tensor cores get.
TEST(Grouped, EveryInt8WeightIsExpandedExactly) {
  constexpr std::int64_t kInputs = 128, kOutputs = 256;
  Experts experts(kInputs, 8, Precision::kBfloat16, {1}, 1, 0, WeightType::kInt8);
  std::vector<float> weights;
  for (std::int64_t n = 0; n < kOutputs; ++n) {
    const float scale = std::ldexp(1.0F + static_cast<float>(n % 128) / 128.0F, static_cast<int>(n - 128) * 85 / 128);
    for (std::int64_t k = 0; k < kInputs; ++k) {
      weights.push_back(scale * static_cast<float>(k == 0 || k == 64 ? 127 : (k + n) % 255 - 127));
    }
  }
  const std::vector<std::byte> stored = stored_matrices(weights, 1, kOutputs, kInputs, WeightType::kInt8);
  const Array<std::byte> w = on_device(stored);
  const auto offsets = on_device(std::vector<std::int32_t>{0, kInputs});
  std::vector<float> unit(static_cast<std::size_t>(kInputs * kInputs));  // row k: input k alone
  for (std::int64_t k = 0; k < kInputs; ++k) {
    unit[static_cast<std::size_t>(k * kInputs + k)] = 1;
  }
  DeviceValues h(unit, Precision::kBfloat16);
  const auto pair_weights = on_device(std::vector<float>(kInputs, 1.0F));
  Array<float> y(kInputs * kOutputs);
  grouped_down({.h = h, .hidden = kOutputs, .width = kInputs, .weights = {w.data(), WeightType::kInt8}, .num_local = 1, .first_expert = 0,
                .last_expert = 1, .offsets = offsets.data(), .pair_weights = pair_weights.data(), .most_pairs = kInputs, .y = y.data()}, nullptr);
  const auto found = from_device(y.data(), kInputs * kOutputs);
  for (std::int64_t n = 0; n < kOutputs; ++n) {
    for (std::int64_t k = 0; k < kInputs; ++k) {
      ASSERT_EQ(found[static_cast<std::size_t>(k * kOutputs + n)], weights[static_cast<std::size_t>(n * kInputs + k)]) << "output " << n << " input " << k;
    }
  }
}

/// Expert 1's pairs begin anywhere, and are as many as there are: each has the bits that it has alone.
TEST(Grouped, APairsBitsAreItsOwn) {
  using Way = std::tuple<Precision, WeightType, GroupedKernel>;
  for (const auto& [precision, type, kernel] : {Way(Precision::kBfloat16, WeightType::kBf16, GroupedKernel::kMma),
                                                Way(Precision::kBfloat16, WeightType::kBf16, GroupedKernel::kWgmma),
                                                Way(Precision::kBfloat16, WeightType::kInt8, GroupedKernel::kMma),
                                                Way(Precision::kFloat32, WeightType::kBf16, GroupedKernel::kMma)}) {
    if (kernel == GroupedKernel::kWgmma && !has_wgmma()) {
      continue;
    }
    Experts alone(72, 48, precision, {0, 1}, 1, 0, type);
    alone.kernel = kernel;
    const std::vector<float> h = alone.run_gate_up(nullptr);
    const std::vector<float> y = alone.run_down(h, nullptr, 2);
    for (const std::int32_t count : {2, 15, 16, 17, 31, 63, 64, 65, 70, 140}) {
      Experts among(72, 48, precision, {count % 7, count, 0, 3}, 200, 5, type);
      among.kernel = kernel;
      std::copy(alone.x.begin(), alone.x.end(), among.x.begin());
      among.store();
      std::copy(alone.stored_gate_up.begin(), alone.stored_gate_up.end(), among.stored_gate_up.begin());
      std::copy(alone.stored_down.begin(), alone.stored_down.end(), among.stored_down.begin());
      const std::int32_t mine = among.offsets[1] + count / 2;
      among.pair_rows[static_cast<std::size_t>(mine)] = 0;
      among.weights[static_cast<std::size_t>(mine)] = alone.weights[0];
      const TileSize* tile = precision == Precision::kFloat32 ? nullptr : &kTiles[count % 2];
      const std::vector<float> all_h = among.run_gate_up(tile);
      EXPECT_EQ(std::vector<float>(all_h.begin() + mine * 48, all_h.begin() + (mine + 1) * 48), h) << count << " pairs";
      const std::vector<float> all_y = among.run_down(all_h, tile, 4);
      EXPECT_EQ(std::vector<float>(all_y.begin() + mine * 72, all_y.begin() + (mine + 1) * 72), y) << count << " pairs";
    }
  }
}

}  // namespace
}  // namespace unmask::experts::cuda
