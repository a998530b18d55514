// SPDX-License-Identifier: Apache-2.0
// The MoE layer on devices: near the CPU's, and the same bits for any number of ranks, placement and dealing of rows.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "comm/nccl/nccl_links.h"
#include "tests/cuda/ranks/moe_testing.h"

namespace unmask::runtime::cuda {
namespace {

using namespace test;
using experts::Precision;

constexpr std::int64_t kRows = 41, kWanted = 13;

enum class Layout { kEven, kRuns, kShuffled, kAllOnLast };
enum class Deal { kEven, kAllOnLast, kOneIdle };

cluster::Placement place(std::int64_t num_experts, std::int64_t num_ranks, Layout layout) {
  if (layout == Layout::kEven) {
    return cluster::Placement::even(num_experts, num_ranks);
  }
  std::vector<Rank> owner;
  for (std::int64_t e = 0; e < num_experts; ++e) {
    const std::int64_t word = layout == Layout::kShuffled ? e * 2654435761 >> 7 : e / 3;
    owner.emplace_back(layout == Layout::kAllOnLast ? num_ranks - 1 : word % num_ranks);
  }
  return {std::move(owner), num_ranks};
}

/// Wanted rows are those with the lowest numbers; on a rank they come first.
MoeRanks deal(std::int64_t num_experts, std::int64_t num_ranks, Layout layout, Deal how, std::int64_t num_wanted = kWanted) {
  MoeRanks ranks{.placement = place(num_experts, num_ranks, layout), .rows = {}, .wanted = {}};
  ranks.rows.resize(size(num_ranks));
  ranks.wanted.resize(size(num_ranks));
  for (std::int64_t row = 0; row < kRows; ++row) {
    std::int64_t rank = how == Deal::kAllOnLast ? num_ranks - 1 : row * 7 % num_ranks;
    if (how == Deal::kOneIdle && rank == num_ranks / 2 && num_ranks > 1) {
      rank = (rank + 1) % num_ranks;
    }
    ranks.rows[size(rank)].push_back(row);
    ranks.wanted[size(rank)] += row < num_wanted ? 1 : 0;
  }
  return ranks;
}

MoeRanks alone(const MoeCase& c, std::int64_t num_wanted = kWanted) { return deal(c.num_experts, 1, Layout::kEven, Deal::kEven, num_wanted); }

std::int64_t count_different(const std::vector<float>& a, const std::vector<float>& b) {
  std::int64_t different = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    different += std::bit_cast<std::uint32_t>(a[i]) != std::bit_cast<std::uint32_t>(b[i]) ? 1 : 0;
  }
  return different;
}

/// |a - b| / |b - what went in|, over all rows: how far off the layers' own part is.
double distance(const MoeModel& model, const std::vector<float>& a, const std::vector<float>& b) {
  double off = 0, whole = 0;
  for (std::int64_t row = 0; row < kRows; ++row) {
    const auto in = model.residual(row);
    for (std::int64_t i = 0; i < model.shape.hidden; ++i) {
      const auto at = size(row * model.shape.hidden + i);
      off += std::pow(double{a[at]} - double{b[at]}, 2);
      whole += std::pow(double{b[at]} - double{in[size(i)]}, 2);
    }
  }
  return std::sqrt(off / whole);
}

/// What rounding may do to the distance: every value passes some roundings, each of half a unit, and few of them fall differently.
double bound(Precision precision, std::int64_t num_layers) {
  return static_cast<double>(num_layers) * (precision == Precision::kFloat32 ? 0x1p-20 : 0x1p-8);
}

std::vector<MoeCase> cases() {
  return {{.name = "Bf16"},
          {.name = "F32", .precision = Precision::kFloat32},
          {.name = "Top8Of64", .num_experts = 64, .top_k = 8, .hidden = 32, .width = 16},
          {.name = "Top8Of64F32", .num_experts = 64, .top_k = 8, .hidden = 32, .width = 16, .precision = Precision::kFloat32},
          {.name = "FewExperts", .num_experts = 3, .top_k = 2, .hidden = 40, .width = 24}};
}

class DeviceMoeTest : public testing::TestWithParam<MoeCase> {};

TEST_P(DeviceMoeTest, IsNearTheCpu) {
  const MoeModel model(GetParam());
  const auto expected = run_on_host(model, kRows, kWanted);
  const auto found = run_on_devices(model, alone(model.shape));
  EXPECT_LE(distance(model, found, expected), bound(model.shape.precision, model.shape.num_layers));
}

TEST_P(DeviceMoeTest, HasTheSameBitsForAnyRanks) {
  const MoeModel model(GetParam());
  const auto expected = run_on_devices(model, alone(model.shape));
  for (const std::int64_t num_ranks : {1, 2, 3, 4}) {
    for (const Layout layout : {Layout::kEven, Layout::kRuns, Layout::kShuffled, Layout::kAllOnLast}) {
      const auto how = layout == Layout::kEven ? Deal::kEven : layout == Layout::kRuns ? Deal::kOneIdle : Deal::kAllOnLast;
      MoeRanks ranks = deal(model.shape.num_experts, num_ranks, layout, how);
      ranks.overlap = layout == Layout::kShuffled ? comm::Overlap::kOff : comm::Overlap::kOn;
      EXPECT_EQ(count_different(run_on_devices(model, ranks), expected), 0) << num_ranks << " ranks, layout " << static_cast<int>(layout);
    }
  }
}

#ifdef UNMASK_CUDA_SIMULATOR
TEST_P(DeviceMoeTest, HasTheSameBitsOverNcclAndReplayed) {
  const MoeModel model(GetParam());
  const auto expected = run_on_devices(model, alone(model.shape));
  for (const std::int64_t num_ranks : {2, 3}) {
    for (const std::int64_t replays : {0, 3}) {
      MoeRanks ranks = deal(model.shape.num_experts, num_ranks, Layout::kRuns, Deal::kEven);
      ranks.make_links = [](comm::Communicator& comm) { return std::make_unique<comm::NcclLinks>(comm); };
      ranks.replays = replays;
      EXPECT_EQ(count_different(run_on_devices(model, ranks), expected), 0) << num_ranks << " ranks, " << replays << " replays";
    }
  }
}
#endif

TEST_P(DeviceMoeTest, AStepIsCapturedAndReplayed) {
  const MoeModel model(GetParam());
  MoeRanks ranks = alone(model.shape);
  const auto expected = run_on_devices(model, ranks);
  ranks.replays = 3;
  EXPECT_EQ(count_different(run_on_devices(model, ranks), expected), 0);
}

TEST_P(DeviceMoeTest, NoRowIsWantedInTheLastLayer) {
  const MoeModel model(GetParam());
  const auto expected = run_on_devices(model, alone(model.shape, 0));
  const auto found = run_on_devices(model, deal(model.shape.num_experts, 3, Layout::kEven, Deal::kEven, 0));
  EXPECT_EQ(count_different(found, expected), 0);
}

/// In one layer: behind it a row whose sum was rounded otherwise may choose other experts.
TEST_P(DeviceMoeTest, FastSumsAreNearAndTheSameEachTime) {
  MoeCase one_layer = GetParam();
  one_layer.num_layers = 1;
  const MoeModel model(one_layer);
  const auto exact = run_on_devices(model, alone(model.shape, kRows));
  for (const Layout layout : {Layout::kEven, Layout::kShuffled}) {
    MoeRanks ranks = deal(model.shape.num_experts, 3, layout, Deal::kEven, kRows);
    ranks.combine = comm::Combine::kFast;
    const auto fast = run_on_devices(model, ranks);
    EXPECT_EQ(count_different(run_on_devices(model, ranks), fast), 0);
    EXPECT_LE(distance(model, fast, exact), bound(model.shape.precision, 2)) << "both sides round";
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, DeviceMoeTest, testing::ValuesIn(cases()), [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace unmask::runtime::cuda
