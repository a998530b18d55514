// SPDX-License-Identifier: Apache-2.0
// prepare_heads: norm, rotation and rounding against double precision, and keys and values at their sequences' places.
#include <gtest/gtest.h>

#include "product_testing.h"

namespace unmask::experts::cuda {
namespace {

constexpr float kUntouched = -77;
constexpr std::int64_t kLength = 9, kLayers = 3, kLayer = 1;  // of a sequence's store
constexpr float kEps = 1e-5F;
using Parts = HeadsProblem::Parts;

struct Case {
  std::int64_t rows, num_heads, num_kv_heads, head_dim;
  Parts parts;
  bool norm;
};

/// Rows of two sequences; those of the second at positions from 3 on.
struct Heads {
  Case c;
  Precision precision;
  std::int64_t most = c.rows + 2;
  std::int64_t queries = c.parts == Parts::kKeysAndValues ? 0 : c.num_heads;
  std::int64_t heads = queries + (c.parts == Parts::kQueries ? 0 : 2 * c.num_kv_heads);
  std::int64_t store = kLayers * c.num_kv_heads * kLength * c.head_dim;
  std::vector<float> qkv = random_values(most * heads * c.head_dim, 1);
  std::vector<float> q_norm = random_values(c.head_dim, 2), k_norm = random_values(c.head_dim, 3);
  std::vector<float> cos = random_values(kLength * c.head_dim / 2, 4), sin = random_values(kLength * c.head_dim / 2, 5);
  std::vector<std::int32_t> sequence_of = {}, positions = {};
  // Results
  std::vector<float> q = {}, keys[2] = {}, values[2] = {};

  void run();
  /// What value i of a head becomes, and what it may be off by.
  std::pair<double, double> exact(std::int64_t row, std::int64_t place, std::int64_t i) const;
  double normed(std::int64_t row, std::int64_t place, std::int64_t i) const;
  bool is_value(std::int64_t place) const { return place >= queries + c.num_kv_heads; }
};

void Heads::run() {
  for (std::int64_t r = 0; r < most; ++r) {
    sequence_of.push_back(r < c.rows / 2 ? 0 : 1);
    positions.push_back(static_cast<std::int32_t>(r < c.rows / 2 ? r : r - c.rows / 2 + 3));
  }
  const auto untouched = [](std::int64_t count) { return std::vector<float>(static_cast<std::size_t>(count), kUntouched); };
  DeviceValues device_keys[] = {{untouched(store), precision}, {untouched(store), precision}};
  DeviceValues device_values[] = {{untouched(store), precision}, {untouched(store), precision}};
  std::vector<DeviceSequence> sequences;
  for (int s = 0; s < 2; ++s) {
    sequences.push_back({.keys = device_keys[s].data(), .values = device_values[s].data(),
                         .layer_stride = c.num_kv_heads * kLength * c.head_dim, .head_stride = kLength * c.head_dim,
                         .length = static_cast<std::int32_t>(kLength), .first_position = 0, .row_begin = 0, .row_end = 0});
  }
  const auto real = on_device(std::vector<std::int32_t>{static_cast<std::int32_t>(c.rows)});
  const auto device_qkv = on_device(qkv);
  const auto device_sequence_of = on_device(sequence_of), device_positions = on_device(positions);
  const auto device_sequences = on_device(sequences);
  const auto device_q_norm = on_device(q_norm), device_k_norm = on_device(k_norm), device_cos = on_device(cos), device_sin = on_device(sin);
  DeviceValues device_q(untouched(most * c.num_heads * c.head_dim), precision);
  const bool stores = c.parts != Parts::kQueries;
  prepare_heads({.qkv = device_qkv.data(), .num_heads = c.num_heads, .num_kv_heads = c.num_kv_heads, .head_dim = c.head_dim, .layer = kLayer,
                 .rows = {real.data(), most}, .sequence_of = stores ? device_sequence_of.data() : nullptr,
                 .positions = device_positions.data(), .sequences = stores ? device_sequences.data() : nullptr, .parts = c.parts,
                 .q_norm = c.norm ? device_q_norm.data() : nullptr, .k_norm = c.norm ? device_k_norm.data() : nullptr, .eps = kEps,
                 .cos = device_cos.data(), .sin = device_sin.data(), .q = {queries > 0 ? device_q.data() : nullptr, precision}},
                nullptr);
  q = device_q.values();
  for (int s = 0; s < 2; ++s) {
    keys[s] = device_keys[s].values();
    values[s] = device_values[s].values();
  }
}

double Heads::normed(std::int64_t row, std::int64_t place, std::int64_t i) const {
  const float* x = qkv.data() + (row * heads + place) * c.head_dim;
  if (!c.norm || is_value(place)) {
    return static_cast<double>(x[i]);
  }
  const double mean = exact_product(x, x, c.head_dim).value / static_cast<double>(c.head_dim);
  return static_cast<double>(x[i]) / std::sqrt(mean + static_cast<double>(kEps)) *
         static_cast<double>((place < queries ? q_norm : k_norm)[static_cast<std::size_t>(i)]);
}

std::pair<double, double> Heads::exact(std::int64_t row, std::int64_t place, std::int64_t i) const {
  const std::int64_t half = c.head_dim / 2;
  if (is_value(place)) {
    const double value = normed(row, place, i);
    return {value, rounding(value, precision)};
  }
  const double a = normed(row, place, i % half), b = normed(row, place, half + i % half);
  const auto at = static_cast<std::size_t>(positions[static_cast<std::size_t>(row)] * half + i % half);
  const double co = static_cast<double>(cos[at]), si = static_cast<double>(sin[at]);
  const double value = i < half ? a * co - b * si : b * co + a * si;
  const double size = i < half ? std::abs(a * co) + std::abs(b * si) : std::abs(b * co) + std::abs(a * si);
  return {value, size * (static_cast<double>(c.head_dim) / 2 + 8) * 0x1p-24 + 1.01 * rounding(value, precision)};
}

class HeadsTest : public testing::TestWithParam<Case> {};

TEST_P(HeadsTest, AreNormedRotatedAndStored) {
  const Case& c = GetParam();
  for (const Precision precision : {Precision::kFloat32, Precision::kBfloat16}) {
    Heads h{.c = c, .precision = precision};
    h.run();
    std::size_t touched = 0;
    for (std::int64_t r = 0; r < h.most; ++r) {
      const std::int32_t s = h.sequence_of[static_cast<std::size_t>(r)];
      for (std::int64_t place = 0; place < h.heads; ++place) {
        for (std::int64_t i = 0; i < c.head_dim; ++i) {
          const bool query = place < h.queries;
          const std::int64_t head = query ? place : (place - h.queries) % c.num_kv_heads;
          if (!query && r >= c.rows) {
            continue;
          }
          const std::int64_t at = query ? (r * c.num_heads + head) * c.head_dim + i
                                        : ((kLayer * c.num_kv_heads + head) * kLength + h.positions[static_cast<std::size_t>(r)]) * c.head_dim + i;
          const float found = (query ? h.q : h.is_value(place) ? h.values[s] : h.keys[s])[static_cast<std::size_t>(at)];
          if (r >= c.rows) {
            ASSERT_EQ(found, kUntouched);
            continue;
          }
          touched += query ? 0 : 1;
          const auto [value, bound] = h.exact(r, place, i);
          ASSERT_NEAR(found, value, bound) << "row " << r << " head " << place << " value " << i;
        }
      }
    }
    std::size_t written = 0;
    for (const auto* stores : {h.keys, h.values}) {
      for (int s = 0; s < 2; ++s) {
        written += static_cast<std::size_t>(std::count_if(stores[s].begin(), stores[s].end(), [](float x) { return x != kUntouched; }));
      }
    }
    EXPECT_EQ(written, touched) << "written beside the places";
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, HeadsTest,
                         testing::Values(Case{0, 4, 2, 16, Parts::kAll, true}, Case{1, 4, 4, 128, Parts::kAll, true},
                                         Case{11, 6, 2, 128, Parts::kAll, true}, Case{7, 3, 1, 8, Parts::kAll, false},
                                         Case{5, 2, 1, 256, Parts::kQueries, true}, Case{5, 4, 2, 72, Parts::kKeysAndValues, true}));

}  // namespace
}  // namespace unmask::experts::cuda
