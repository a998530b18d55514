// SPDX-License-Identifier: Apache-2.0
#include "bench/pass_roofline.h"

#include <vector>

#include <gtest/gtest.h>

namespace unmask::bench {
namespace {

/// Two layers of four experts, top 2; 10 rows, of which 4 are wanted.
struct PassRooflineTest : testing::Test {
  runtime::ModelConfig config;
  std::vector<std::int64_t> counts = {10, 10, 0, 0, /* last layer */ 2, 2, 2, 2};
  PassRoofline all_here(const MachineRates& machine) const { return pass_roofline(config, kExpertBytes, {counts, counts}, machine); }
  static constexpr double kExpertBytes = 2 * 3 * 100 * 10;

  PassRooflineTest() {
    config.num_layers = 2;
    config.hidden = 100;
    config.num_heads = config.num_kv_heads = 2;
    config.head_dim = 50;
    config.num_experts = 4;
    config.experts_per_token = 2;
    config.expert_width = 10;
    config.vocab_size = 1000;
  }
};

TEST_F(PassRooflineTest, BoundByReading) {
  // attention 4 x 100 x 100 a layer, experts 3 x 100 x 10 where rows chose them, the head once
  const auto pass = all_here({.flops = 1e30, .bytes_per_second = 2});
  EXPECT_DOUBLE_EQ(pass.compute_seconds, 0);
  EXPECT_DOUBLE_EQ(pass.read_seconds, 2 * 40000 + (2 + 4) * 3000 + 100000);
}

TEST_F(PassRooflineTest, BoundByProducts) {
  const auto pass = all_here({.flops = 2, .bytes_per_second = 1e30});
  // the last layer projects keys and values of all rows, and goes on with the wanted ones
  const double first = 10 * 40000 + 20 * 3000, last = 10 * 30000 + 4 * 10000 + 8 * 3000, head = 4 * 100000;
  EXPECT_DOUBLE_EQ(pass.read_seconds, 0);
  EXPECT_DOUBLE_EQ(pass.compute_seconds, first + last + head);
}

TEST_F(PassRooflineTest, ARankReadsTheExpertsThatItHolds) {
  // half of the experts, in half of the bytes; an idle rank computes for the others
  const std::vector<std::int64_t> held = {10, 0, 0, 0, 2, 2, 0, 0}, none(8, 0);
  const MachineRates reads{.flops = 1e30, .bytes_per_second = 2};
  EXPECT_DOUBLE_EQ(pass_roofline(config, kExpertBytes / 2, {counts, held}, reads).seconds(), 2 * 40000 + (1 + 2) * 1500 + 100000);
  EXPECT_DOUBLE_EQ(pass_roofline(config, kExpertBytes / 2, {none, held}, reads).seconds(), (1 + 2) * 1500);
}

TEST_F(PassRooflineTest, NoRowsTakeNoTime) {
  counts.assign(8, 0);
  EXPECT_DOUBLE_EQ(all_here({.flops = 1, .bytes_per_second = 1}).seconds(), 0);
}

}  // namespace
}  // namespace unmask::bench
