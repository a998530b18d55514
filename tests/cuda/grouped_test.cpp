// SPDX-License-Identifier: Apache-2.0
// grouped_gate_up() and grouped_down(): idle experts, one pair, all pairs to one, chunks; and a pair's bits its own.
#include <bit>

#include <gtest/gtest.h>

#include "experts/cuda/tiled.h"
#include "product_testing.h"

namespace unmask::experts::cuda {
namespace {

constexpr float kUntouched = -77;
constexpr TileSize kTiles[] = {TileSize::kNarrow, TileSize::kWide};

struct Experts {
  std::int64_t hidden, width;
  Precision precision;
  std::vector<std::int32_t> offsets{0};
  std::vector<std::int32_t> pair_rows;
  std::vector<float> x, gate_up, down, weights;
  std::int64_t most_pairs = 0;

  /// counts: pairs of each expert. Rows are drawn from `rows`.
  Experts(std::int64_t hidden_, std::int64_t width_, Precision p, const std::vector<std::int32_t>& counts, std::int64_t rows, std::int64_t spare)
      : hidden(hidden_), width(width_), precision(p), x(random_values(rows * hidden_, 1)) {
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
  }
  std::int64_t num_pairs() const { return offsets.back(); }
  std::int64_t num_experts() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t expert_of(std::int64_t pair) const { return std::upper_bound(offsets.begin(), offsets.end(), pair) - offsets.begin() - 1; }

  std::vector<float> run_gate_up(const TileSize* tile) const {
    DeviceValues device_x(x, precision);
    DeviceValues h(std::vector<float>(static_cast<std::size_t>(most_pairs * width), kUntouched), precision);
    Array<bfloat16> w = on_device(rounded(gate_up));
    Array<std::int32_t> device_offsets = on_device(offsets);
    Array<std::int32_t> rows = on_device(pair_rows);
    const GroupedGateUpProblem problem{.x = device_x, .hidden = hidden, .width = width, .weights = w.data(), .num_local = num_experts(),
                                       .offsets = device_offsets.data(), .pair_rows = rows.data(), .most_pairs = most_pairs, .h = h};
    tile == nullptr ? grouped_gate_up(problem, nullptr) : grouped_gate_up_by(*tile, problem, nullptr);
    return h.values();
  }

  /// In chunks of `chunk` experts.
  std::vector<float> run_down(const std::vector<float>& h, const TileSize* tile, std::int64_t chunk) const {
    DeviceValues device_h(h, precision);
    Array<bfloat16> w = on_device(rounded(down));
    Array<std::int32_t> device_offsets = on_device(offsets);
    Array<float> pair_weights = on_device(weights);
    Array<float> y = on_device(std::vector<float>(static_cast<std::size_t>(most_pairs * hidden), kUntouched));
    for (std::int64_t first = 0; first < num_experts(); first += chunk) {
      const GroupedDownProblem problem{.h = device_h, .hidden = hidden, .width = width, .weights = w.data(), .num_local = num_experts(),
                                       .first_expert = first, .last_expert = std::min(first + chunk, num_experts()),
                                       .offsets = device_offsets.data(), .pair_weights = pair_weights.data(), .most_pairs = most_pairs, .y = y.data()};
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

TEST(Grouped, MatchesTheExactProducts) {
  std::vector<std::int32_t> many(70, 1);  // experts
  many[3] = 0;
  many[33] = 40;
  const Case cases[] = {{64, 64, {0, 0, 0}, 3}, {64, 64, {0, 1, 0, 2}, 0},    {72, 40, {5, 0, 67, 3}, 9}, {72, 72, {130}, 1},
                        {200, 8, {0, 129, 0}, 0}, {8, 24, many, 2}, {64, 136, {64, 65, 0, 1, 129, 63}, 40}};
  for (const Case& c : cases) {
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

/// Expert 1's pairs begin anywhere, and are as many as there are: each has the bits that it has alone.
TEST(Grouped, APairsBitsAreItsOwn) {
  for (const Precision precision : {Precision::kBfloat16, Precision::kFloat32}) {
    Experts alone(72, 48, precision, {0, 1}, 1, 0);
    const std::vector<float> h = alone.run_gate_up(nullptr);
    const std::vector<float> y = alone.run_down(h, nullptr, 2);
    for (const std::int32_t count : {2, 15, 16, 17, 31, 63, 64, 65, 70, 140}) {
      Experts among(72, 48, precision, {count % 7, count, 0, 3}, 200, 5);
      std::copy(alone.gate_up.begin(), alone.gate_up.end(), among.gate_up.begin());
      std::copy(alone.down.begin(), alone.down.end(), among.down.begin());
      std::copy(alone.x.begin(), alone.x.end(), among.x.begin());
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
