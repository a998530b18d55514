// SPDX-License-Identifier: Apache-2.0
// The kernels that sum what experts computed against plain loops, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "comm/nccl/unit_plan.h"
#include "tests/cuda/product_testing.h"

namespace unmask::experts::cuda {
namespace {

struct UnitsCase {
  std::int64_t num_experts, top_k, hidden;
  std::vector<std::int32_t> rows;  ///< of each rank
  Precision precision;
};
void PrintTo(const UnitsCase& c, std::ostream* out) { *out << c.num_experts << " experts, top " << c.top_k << ", hidden " << c.hidden; }

float to_precision(Precision precision, float x) { return precision == Precision::kFloat32 ? x : round_to_bfloat16(x); }

std::int64_t count_different(const std::vector<float>& a, const std::vector<float>& b) {
  std::int64_t different = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    different += std::bit_cast<std::uint32_t>(a[i]) != std::bit_cast<std::uint32_t>(b[i]) ? 1 : 0;
  }
  return different;
}

/// Experts dealt to ranks in runs of two, so that groups are split and sums begun.
cluster::Placement placement_of(const UnitsCase& c, std::mt19937& random) {
  std::vector<Rank> owner;
  for (std::int64_t e = 0; e < c.num_experts; ++e) {
    owner.push_back(e % 2 == 1 ? owner.back() : Rank(random() % c.rows.size()));
  }
  return {std::move(owner), std::ssize(c.rows)};
}

std::vector<std::int32_t> choose(const UnitsCase& c, std::mt19937& random) {
  std::vector<std::int32_t> ids(size(c.num_experts));
  std::iota(ids.begin(), ids.end(), 0);
  std::shuffle(ids.begin(), ids.end(), random);
  ids.resize(size(c.top_k));
  std::sort(ids.begin(), ids.end());
  return ids;
}

class UnitsTest : public testing::TestWithParam<UnitsCase> {};

TEST_P(UnitsTest, SumsOfARanksExpertsGoWhereTheyBelong) {
  const UnitsCase& c = GetParam();
  std::mt19937 random(3);
  const cluster::Placement placement = placement_of(c, random);
  const comm::UnitPlan plan(placement, comm::Combine::kExact);
  for (Rank rank(0); rank.value < placement.num_ranks(); ++rank) {
    RowSegments segments{.count = static_cast<std::int32_t>(c.rows.size()), .begin = {}, .rounded = {}, .plain = {}};
    std::int32_t rounded_rows = 3, plain_rows = 5;  // nothing says that places begin with 0
    for (std::size_t s = 0; s < c.rows.size(); ++s) {
      segments.begin[s + 1] = segments.begin[s] + c.rows[s];
      segments.rounded[s] = rounded_rows;
      segments.plain[s] = plain_rows;
      rounded_rows += plan.count(rank, comm::UnitPlan::Kind::kRounded) * c.rows[s];
      plain_rows += plan.count(rank, comm::UnitPlan::Kind::kPlain) * c.rows[s];
    }
    const std::int32_t num_rows = segments.begin[c.rows.size()];
    std::vector<std::int32_t> ids, pair_of, local_of;
    for (std::int64_t e = 0; e < c.num_experts; ++e) {
      local_of.push_back(placement.owner(ExpertId(e)) == rank ? placement.local(ExpertId(e)).value : -1);
    }
    std::int32_t num_pairs = 0;
    for (std::int32_t row = 0; row < num_rows; ++row) {
      const bool is_real = row % 5 != 4;
      for (const std::int32_t id : choose(c, random)) {
        ids.push_back(is_real ? id : -1);
        pair_of.push_back(is_real && local_of[size(id)] >= 0 ? num_pairs++ : -1);
      }
    }
    std::vector<float> y(size(num_pairs * c.hidden));
    std::generate(y.begin(), y.end(), [&] { return std::normal_distribution<float>(0, 3)(random); });
    const std::vector<float> rounded_before(size(rounded_rows * c.hidden), -77.0F), plain_before(size(plain_rows * c.hidden), -77.0F);
    std::vector<float> rounded_expected = rounded_before, plain_expected = plain_before;
    std::vector<SumUnit> units;
    for (const auto& unit : plan.units(rank)) {
      const bool is_rounded = unit.kind == comm::UnitPlan::Kind::kRounded;
      units.push_back({unit.begin, unit.end, is_rounded ? 1 : 0, unit.index});
      for (std::size_t s = 0; s < c.rows.size(); ++s) {
        for (std::int32_t row = segments.begin[s]; row < segments.begin[s + 1]; ++row) {
          const std::int64_t place = (is_rounded ? segments.rounded[s] : segments.plain[s]) + unit.index * c.rows[s] + row - segments.begin[s];
          for (std::int64_t column = 0; column < c.hidden; ++column) {
            float sum = 0;
            bool has_any = false;
            for (std::int64_t j = row * c.top_k; j < (row + 1) * c.top_k; ++j) {
              if (pair_of[size(j)] >= 0 && local_of[size(ids[size(j)])] >= unit.begin && local_of[size(ids[size(j)])] < unit.end) {
                sum += y[size(pair_of[size(j)] * c.hidden + column)];
                has_any = true;
              }
            }
            if (has_any) {
              (is_rounded ? rounded_expected : plain_expected)[size(place * c.hidden + column)] =
                  is_rounded ? to_precision(c.precision, sum) : sum;
            }
          }
        }
      }
    }
    const auto device_y = on_device(y);
    const auto device_ids = on_device(ids), device_pairs = on_device(pair_of), device_local = on_device(local_of);
    const auto device_units = on_device(units);
    DeviceValues rounded(rounded_before, c.precision);
    Array<float> plain = on_device(plain_before);
    const auto middle = std::ssize(units) / 3;
    for (const auto& [first, last] : {std::pair(std::int64_t{0}, middle), {middle, middle}, {middle, std::ssize(units)}}) {
      sum_units({.y = device_y.data(), .hidden = c.hidden, .top_k = c.top_k, .ids = device_ids.data(), .local_of = device_local.data(),
                 .pair_of = device_pairs.data(), .units = device_units.data(), .first_unit = first, .last_unit = last, .rows = segments,
                 .rounded = rounded, .plain = plain.data()},
                nullptr);
    }
    EXPECT_EQ(count_different(rounded.values(), rounded_expected), 0) << "rank " << rank.value;
    EXPECT_EQ(count_different(from_device(plain.data(), std::ssize(plain_expected)), plain_expected), 0) << "rank " << rank.value;
  }
}

TEST_P(UnitsTest, SumsAreAddedInTheOrderOfTheDefinition) {
  const UnitsCase& c = GetParam();
  std::mt19937 random(4);
  const cluster::Placement placement = placement_of(c, random);
  for (const auto combine : {comm::Combine::kExact, comm::Combine::kFast}) {
    const comm::UnitPlan plan(placement, combine);
    const std::int32_t real = c.rows.back(), most = real + 3;
    const std::int64_t num_rounded = plan.count(comm::UnitPlan::Kind::kRounded), num_plain = plan.count(comm::UnitPlan::Kind::kPlain);
    const auto draw = [&](std::int64_t count) {
      std::vector<float> values(size(count));
      std::generate(values.begin(), values.end(), [&] { return to_precision(c.precision, std::normal_distribution<float>(0, 3)(random)); });
      return values;
    };
    const auto rounded = draw(num_rounded * most * c.hidden), residual = draw(most * c.hidden);
    std::vector<float> plain(size(num_plain * most * c.hidden));
    std::generate(plain.begin(), plain.end(), [&] { return std::normal_distribution<float>(0, 3)(random); });
    std::vector<std::int32_t> ids;
    std::vector<float> expected = residual;
    std::vector<SumTerm> terms;
    for (const auto& term : plan.terms()) {
      terms.push_back({term.order, term.index, term.group});
    }
    for (std::int64_t row = 0; row < most; ++row) {
      const auto chosen = choose(c, random);
      ids.insert(ids.end(), chosen.begin(), chosen.end());
      if (row >= real) {
        continue;
      }
      std::map<std::int32_t, SumTerm> ordered;
      for (const std::int32_t id : chosen) {
        ordered.emplace(terms[size(id)].order, terms[size(id)]);
      }
      for (std::int64_t column = 0; column < c.hidden; ++column) {
        float sum = 0;
        for (auto term = ordered.begin(); term != ordered.end();) {
          const std::int32_t group = term->second.group;
          if (group < 0) {
            sum += rounded[size((term->second.index * most + row) * c.hidden + column)];
            ++term;
            continue;
          }
          float group_sum = 0;
          for (; term != ordered.end() && term->second.group == group; ++term) {
            group_sum += plain[size((term->second.index * most + row) * c.hidden + column)];
          }
          sum += to_precision(c.precision, group_sum);
        }
        expected[size(row * c.hidden + column)] += sum;
      }
    }
    DeviceValues device_rounded(rounded, c.precision);
    const auto device_plain = on_device(plain);
    const auto device_ids = on_device(ids), device_real = on_device(std::vector<std::int32_t>{real});
    const auto device_terms = on_device(terms);
    Array<float> found = on_device(residual);
    combine_units({.rounded = device_rounded, .plain = device_plain.data(), .hidden = c.hidden, .top_k = c.top_k,
                   .rows = {device_real.data(), most}, .ids = device_ids.data(), .terms = device_terms.data(), .residual = found.data()},
                  nullptr);
    EXPECT_EQ(count_different(from_device(found.data(), most * c.hidden), expected), 0);
  }
}

TEST_P(UnitsTest, WhatRowsNeedOfOtherRanksIsCounted) {
  const UnitsCase& c = GetParam();
  std::mt19937 random(5);
  const cluster::Placement placement = placement_of(c, random);
  const comm::UnitPlan plan(placement, comm::Combine::kExact);
  std::vector<SumTerm> terms;
  std::vector<std::int32_t> owner, ids;
  for (std::int64_t e = 0; e < c.num_experts; ++e) {
    const auto& term = plan.terms()[size(e)];
    terms.push_back({term.order, term.index, term.group});
    owner.push_back(placement.owner(ExpertId(e)).value);
  }
  const std::int32_t real = 150, most = 160;
  const Rank rank(0);
  Traffic expected{.rows = 10, .rounded = 20, .plain = 30, .pairs = 40};  // of before
  Array<Traffic> counted = on_device(std::vector<Traffic>{expected});
  for (std::int32_t row = 0; row < most; ++row) {
    std::set<std::int32_t> ranks, units;
    for (const std::int32_t id : choose(c, random)) {
      ids.push_back(row < real ? id : -1);
      if (row < real && owner[size(id)] != rank.value) {
        ++expected.pairs;
        expected.rows += ranks.insert(owner[size(id)]).second ? 1U : 0U;
        const bool is_new = units.insert(terms[size(id)].order).second;
        expected.rounded += is_new && terms[size(id)].group < 0 ? 1U : 0U;
        expected.plain += is_new && terms[size(id)].group >= 0 ? 1U : 0U;
      }
    }
  }
  const auto device_ids = on_device(ids), device_owner = on_device(owner), device_real = on_device(std::vector<std::int32_t>{real});
  const auto device_terms = on_device(terms);
  count_traffic({.rows = {device_real.data(), most}, .top_k = c.top_k, .ids = device_ids.data(), .owner = device_owner.data(),
                 .rank = rank.value, .terms = device_terms.data(), .traffic = counted.data()},
                nullptr);
  const auto traffic = from_device(counted.data(), 1);
  EXPECT_EQ(traffic[0].rows, expected.rows);
  EXPECT_EQ(traffic[0].rounded, expected.rounded);
  EXPECT_EQ(traffic[0].plain, expected.plain);
  EXPECT_EQ(traffic[0].pairs, expected.pairs);
}

INSTANTIATE_TEST_SUITE_P(Sizes, UnitsTest,
                         testing::Values(UnitsCase{64, 8, 40, {7, 0, 12, 3}, Precision::kBfloat16},
                                         UnitsCase{64, 8, 40, {7, 0, 12, 3}, Precision::kFloat32},
                                         UnitsCase{16, 4, 1, {1}, Precision::kBfloat16}, UnitsCase{16, 16, 33, {0, 1}, Precision::kFloat32},
                                         UnitsCase{64, 32, 1100, {2, 3}, Precision::kBfloat16}, UnitsCase{2, 1, 8, {5, 5, 5}, Precision::kBfloat16},
                                         UnitsCase{8, 2, 16, {4, 0}, Precision::kBfloat16}));

}  // namespace
}  // namespace unmask::experts::cuda
