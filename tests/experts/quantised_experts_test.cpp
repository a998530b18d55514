// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "experts/grouped_experts.h"
#include "experts/quantised.h"

namespace unmask::experts {
namespace {

struct Case {
  const KernelFamily* family;
  WeightType type;
};

class QuantisedExpertsTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!GetParam().family->supported()) {
      GTEST_SKIP() << GetParam().family->name << " needs " << GetParam().family->needs;
    }
  }

  Matrix random_matrix(std::int64_t rows, std::int64_t cols) {
    std::normal_distribution<float> normal(0, 0.3F);
    std::vector<bfloat16> values(size(rows * cols));
    std::generate(values.begin(), values.end(), [&] { return to_bfloat16(normal(random_)); });
    Matrix m(rows, cols, GetParam().type);
    for (std::int64_t p = 0; p < m.num_panels(); ++p) {
      quantise_panel(values.data() + p * kPanelRows * cols, p, m);
    }
    return m;
  }
  ExpertWeights random_experts(std::int64_t count, std::int64_t hidden, std::int64_t width) {
    ExpertWeights all;
    for (std::int64_t e = 0; e < count; ++e) {
      all.push_back({random_matrix(width, hidden), random_matrix(width, hidden), random_matrix(hidden, width)});
    }
    return all;
  }
  std::vector<float> random_rows(std::int64_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> x(size(count));
    std::generate(x.begin(), x.end(), [&] { return round_to_bfloat16(normal(random_)); });
    return x;
  }

  std::mt19937 random_{12};
};

/// The weights as this family takes them.
std::vector<float> expanded(const Matrix& m, const KernelFamily& family) {
  std::vector<float> out(size(m.rows() * m.cols()));
  if (family.panels != nullptr && !family.panels->rounds_weights) {
    expand_rows(m, 0, m.rows(), out.data());
    return out;
  }
  std::vector<bfloat16> rows(out.size());
  expand_rows(m, 0, m.rows(), rows.data());
  std::transform(rows.begin(), rows.end(), out.begin(), [](bfloat16 x) { return to_float(x); });
  return out;
}

/// One row through one expert whose weights were expanded to double; and the norm that bounds rounding.
struct Reference {
  std::vector<double> y;
  double norm;
};
Reference plain(const Expert& expert, const float* x, const KernelFamily& family) {
  const std::int64_t hidden = expert.gate.cols(), width = expert.gate.rows();
  const auto gate = expanded(expert.gate, family), up = expanded(expert.up, family), down = expanded(expert.down, family);
  std::vector<double> h(size(width));
  for (std::int64_t i = 0; i < width; ++i) {
    double g = 0, u = 0;
    for (std::int64_t k = 0; k < hidden; ++k) {
      g += double{x[k]} * double{gate[size(i * hidden + k)]};
      u += double{x[k]} * double{up[size(i * hidden + k)]};
    }
    h[size(i)] = g / (1 + std::exp(-g)) * u;
  }
  Reference out{std::vector<double>(size(hidden)), 0};
  for (std::int64_t o = 0; o < hidden; ++o) {
    double magnitude = 0;
    for (std::int64_t i = 0; i < width; ++i) {
      const double term = h[size(i)] * double{down[size(o * width + i)]};
      out.y[size(o)] += term;
      magnitude += std::abs(term);
    }
    out.norm = std::max(out.norm, magnitude);
  }
  return out;
}

TEST_P(QuantisedExpertsTest, MatchTheExpandedWeights) {
  constexpr std::int64_t kHidden = 144, kWidth = 80, kRows = 37;
  const auto experts = random_experts(3, kHidden, kWidth);
  const auto x = random_rows(kRows * kHidden);
  std::vector<cluster::Assignment> assignments;
  for (int e = 0; e < 3; ++e) {
    for (std::int32_t r = 0; r < kRows; ++r) {
      if (e == 0 ? r < 2 : e == 1 || r % 2 == 0) {  // some rows, all rows, half of them
        assignments.push_back({.row = r, .expert = LocalExpert(e), .weight = 0.25F * static_cast<float>(e + 1), .slot = r});
      }
    }
  }
  std::vector<double> expected(size(kRows * kHidden)), bound(kRows);
  for (const auto& a : assignments) {
    const Reference reference = plain(experts[a.expert.at()], x.data() + a.row * kHidden, *GetParam().family);
    for (std::int64_t o = 0; o < kHidden; ++o) {
      expected[size(a.slot * kHidden + o)] += double{a.weight} * reference.y[size(o)];
    }
    bound[size(a.slot)] += double{a.weight} * reference.norm;
  }
  const cluster::ExpertWork work{.num_rows = kRows, .num_slots = kRows, .rows = x, .assignments = assignments};
  for (const Precision precision : {Precision::kBfloat16, Precision::kFloat32}) {
    if (!GetParam().family->serves(precision)) {
      continue;
    }
    // Each h is rounded once (2^-9 of it) in bfloat16; sums of up to 144 terms in float32.
    const double epsilon = precision == Precision::kBfloat16 ? 0x1p-9 + 300 * 0x1p-24 : 300 * 0x1p-24;
    ThreadTeam team(2);
    GroupedExperts grouped;
    const auto slots = grouped.run({GetParam().family, &team, precision}, experts, kHidden, work);
    for (std::int64_t r = 0; r < kRows; ++r) {
      for (std::int64_t o = 0; o < kHidden; ++o) {
        EXPECT_NEAR(slots[size(r * kHidden + o)], expected[size(r * kHidden + o)], epsilon * bound[size(r)]);
      }
    }
  }
}

/// 1 to 70 rows of an expert, random neighbours, 1 to 3 threads, and more rows than one pass or one gathering takes.
TEST_P(QuantisedExpertsTest, ARowDependsOnNothingBesideIt) {
  constexpr std::int64_t kHidden = 208, kWidth = 112;
  const auto experts = random_experts(1, kHidden, kWidth);
  const auto probe = random_rows(kHidden);
  ThreadTeam one(1), two(2), three(3);
  std::vector<float> expected;
  std::vector<std::int64_t> counts(70);
  std::generate(counts.begin(), counts.end(), [n = std::int64_t{0}]() mutable { return ++n; });
  counts.insert(counts.end(), {256, 300});
  for (const std::int64_t rows : counts) {
    auto x = random_rows(rows * kHidden);
    const auto place = static_cast<std::int64_t>(random_() % static_cast<std::uint32_t>(rows));
    std::copy(probe.begin(), probe.end(), x.begin() + place * kHidden);
    std::vector<cluster::Assignment> assignments;
    for (std::int32_t r = 0; r < rows; ++r) {
      assignments.push_back({.row = r, .expert = LocalExpert(0), .weight = 0.5F, .slot = r});
    }
    for (ThreadTeam* team : {&one, &two, &three}) {
      GroupedExperts grouped;
      const auto slots = grouped.run({GetParam().family, team, Precision::kBfloat16}, experts, kHidden,
                                     {.num_rows = rows, .num_slots = rows, .rows = x, .assignments = assignments});
      const std::vector<float> got(slots.begin() + place * kHidden, slots.begin() + (place + 1) * kHidden);
      if (expected.empty()) {
        expected = got;
      }
      ASSERT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0) << rows << " rows, " << team->size() << " threads";
    }
  }
}

/// Of families that expand weights themselves; the others use expand_rows.
class QuantisedPanelsTest : public QuantisedExpertsTest {};

/// Rows of the identity bring out each weight, bit for bit.
TEST_P(QuantisedPanelsTest, WeightsAreTheSameAsExpandedRows) {
  const PanelKernels* kernels = GetParam().family->panels;
  constexpr std::int64_t kInputs = 200, kOutputs = 40;
  const Matrix m = random_matrix(kOutputs, kInputs);
  const auto rows = expanded(m, *GetParam().family);
  for (const std::int64_t at_once : {1, 16, 17, 32, 200}) {
    for (std::int64_t first = 0; first < kInputs; first += at_once) {
      const std::int64_t count = std::min(at_once, kInputs - first);
      std::vector<float> x(size(count * kInputs)), y(size(count * kOutputs), -0.0F);
      std::vector<cluster::Assignment> picked;
      for (std::int64_t r = 0; r < count; ++r) {
        x[size(r * kInputs + first + r)] = 1;
        picked.push_back({.row = static_cast<std::int32_t>(r), .expert = LocalExpert(0), .weight = 1, .slot = static_cast<std::int32_t>(r)});
      }
      AlignedBuffer<std::byte> tiles(row_tiles_bytes(*kernels, count, kInputs));
      AlignedBuffer<bfloat16> workspace(4 * m.panel_size());
      kernels->tile_rows({.x = x.data(), .x_stride = kInputs, .picked = nullptr, .rows = count, .k = kInputs, .tiles = tiles.data()});
      kernels->add_down_quantised({.product = {.walk = {.x = tiles.data(), .rows = count, .k = kInputs, .num_panels = m.num_panels()},
                                               .w = nullptr, .next_w = nullptr, .num_outputs = kOutputs, .picked = picked.data(),
                                               .begins = nullptr, .slots = y.data(), .slots_stride = kOutputs},
                                   .type = m.type(), .w = m.quantised_panel(0), .next_w = nullptr, .workspace = workspace.data()});
      for (std::int64_t r = 0; r < count; ++r) {
        for (std::int64_t n = 0; n < kOutputs; ++n) {
          ASSERT_EQ(y[size(r * kOutputs + n)], rows[size(n * kInputs + first + r)]) << "output " << n << " input " << first + r;
        }
      }
    }
  }
}

enum class Which { kAll, kWithPanels };
std::vector<Case> cases(Which which) {
  std::vector<Case> all;
  for (const KernelFamily* family : kernel_families()) {
    if (which == Which::kWithPanels && family->panels == nullptr) {
      continue;
    }
    all.push_back({family, WeightType::kInt8});
    all.push_back({family, WeightType::kInt4});
  }
  return all;
}

std::string name_of_case(const testing::TestParamInfo<Case>& instance) {
  return std::string(instance.param.family->name) + "_" + std::string(name_of(instance.param.type));
}
INSTANTIATE_TEST_SUITE_P(Families, QuantisedExpertsTest, testing::ValuesIn(cases(Which::kAll)), name_of_case);
INSTANTIATE_TEST_SUITE_P(Families, QuantisedPanelsTest, testing::ValuesIn(cases(Which::kWithPanels)), name_of_case);

}  // namespace
}  // namespace unmask::experts
