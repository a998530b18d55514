// SPDX-License-Identifier: Apache-2.0
// Sums taken as a UnitPlan says, in plain loops, have the bits of the definition for any placement.
#include "comm/nccl/unit_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <map>
#include <numeric>
#include <set>

#include "base/bfloat16.h"
#include "base/random.h"

namespace unmask::comm {
namespace {

using Kind = UnitPlan::Kind;

std::uint32_t random_word(std::int64_t a, std::int64_t b, std::int64_t c) {
  return philox({static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(c), 0}, {5, 6})[0];
}

/// A weighted value that an expert makes of a row.
float value(std::int64_t row, std::int64_t expert) {
  return (static_cast<float>(random_word(1, row, expert) % 20011) - 10005.0F) / 777.0F;
}

std::vector<std::int64_t> choose(std::int64_t row, std::int64_t num_experts, std::int64_t top_k) {
  std::vector<std::int64_t> ids(size(num_experts));
  std::iota(ids.begin(), ids.end(), 0);
  std::sort(ids.begin(), ids.end(), [&](auto a, auto b) { return random_word(2, row, a) < random_word(2, row, b); });
  ids.resize(size(top_k));
  std::sort(ids.begin(), ids.end());
  return ids;
}

float by_definition(const cluster::ReductionGroups& groups, std::int64_t row, const std::vector<std::int64_t>& ids) {
  std::map<std::int32_t, float> sums;
  for (const std::int64_t id : ids) {
    sums[groups.group_of(ExpertId(id)).value] += value(row, id);
  }
  float total = 0;
  for (const auto& [group, sum] : sums) {
    total += round_to_bfloat16(sum);
  }
  return total;
}

/// What each rank returns for a row, and what its own rank makes of it; also counts what returns.
float by_plan(const UnitPlan& plan, const cluster::Placement& placement, std::int64_t row, const std::vector<std::int64_t>& ids) {
  std::map<std::pair<bool, std::int32_t>, float> returned;  // by (plain, index)
  for (Rank rank(0); rank.value < placement.num_ranks(); ++rank) {
    for (const UnitPlan::Unit& unit : plan.units(rank)) {
      float sum = 0;
      bool has_any = false;
      for (const std::int64_t id : ids) {
        const std::int32_t local = placement.local(ExpertId(id)).value;
        if (placement.owner(ExpertId(id)) == rank && local >= unit.begin && local < unit.end) {
          sum += value(row, id);
          has_any = true;
        }
      }
      if (has_any) {
        const bool is_plain = unit.kind == Kind::kPlain;
        returned[{is_plain, plan.first(rank, unit.kind) + unit.index}] = is_plain ? sum : round_to_bfloat16(sum);
      }
    }
  }
  std::map<std::int32_t, UnitPlan::Term> terms;  // by order, each once
  for (const std::int64_t id : ids) {
    const auto [found, is_new] = terms.emplace(plan.terms()[size(id)].order, plan.terms()[size(id)]);
    EXPECT_TRUE(is_new || (found->second.index == plan.terms()[size(id)].index && found->second.group == plan.terms()[size(id)].group));
  }
  EXPECT_EQ(terms.size(), returned.size());
  float total = 0;
  for (auto term = terms.begin(); term != terms.end();) {
    const std::int32_t group = term->second.group;
    if (group < 0) {
      total += returned.at({false, (term++)->second.index});
      continue;
    }
    float sum = 0;
    for (; term != terms.end() && term->second.group == group; ++term) {
      sum += returned.at({true, term->second.index});
    }
    total += round_to_bfloat16(sum);
  }
  return total;
}

std::vector<cluster::Placement> placements(std::int64_t num_experts, std::int64_t num_ranks) {
  std::vector<cluster::Placement> all{cluster::Placement::even(num_experts, num_ranks)};
  for (std::int64_t seed = 0; seed < 4; ++seed) {
    std::vector<Rank> owner;
    for (std::int64_t e = 0; e < num_experts; ++e) {
      // Runs of a few experts, so that sums are begun and broken off.
      owner.emplace_back(random_word(3 + seed, e / (seed + 1), num_ranks) % static_cast<std::uint32_t>(num_ranks));
    }
    all.emplace_back(std::move(owner), num_ranks);
  }
  return all;
}

TEST(UnitPlan, ExactSumsHaveTheBitsOfTheDefinition) {
  for (const std::int64_t num_experts : {1, 3, 11, 16, 64}) {
    for (const std::int64_t num_ranks : {1, 2, 3, 5, 6, 70}) {
      for (const auto& placement : placements(num_experts, num_ranks)) {
        const UnitPlan plan(placement, Combine::kExact);
        for (std::int64_t row = 0; row < 20; ++row) {
          const auto ids = choose(row, num_experts, std::min<std::int64_t>(num_experts, 1 + row % 9));
          const float expected = by_definition(placement.groups(), row, ids), found = by_plan(plan, placement, row, ids);
          EXPECT_EQ(std::bit_cast<std::uint32_t>(expected), std::bit_cast<std::uint32_t>(found))
              << num_experts << " experts, " << num_ranks << " ranks, row " << row;
        }
      }
    }
  }
}

TEST(UnitPlan, FastSumsReturnOneRowOfEachRank) {
  const cluster::Placement placement({Rank(2), Rank(0), Rank(2), Rank(0), Rank(2)}, 4);
  const UnitPlan plan(placement, Combine::kFast);
  EXPECT_EQ(plan.count(Kind::kRounded), 2);
  EXPECT_EQ(plan.count(Kind::kPlain), 0);
  EXPECT_TRUE(plan.units(Rank(1)).empty());
  EXPECT_EQ(plan.units(Rank(2)).size(), 1U);
  EXPECT_EQ(plan.units(Rank(2))[0].end, 3);
  EXPECT_LT(plan.terms()[1].order, plan.terms()[0].order) << "ranks ascending";
  EXPECT_EQ(plan.terms()[0].index, 1);
}

TEST(UnitPlan, ASplitGroupBeginsItsSumWithItsFirstExperts) {
  std::vector<Rank> owner(64, Rank(0));
  std::fill(owner.begin() + 13, owner.end(), Rank(1));  // group 1 is [8, 16): five begin on rank 0
  const UnitPlan plan({owner, 2}, Combine::kExact);
  EXPECT_EQ(plan.count(Rank(0), Kind::kRounded), 1);
  EXPECT_EQ(plan.count(Rank(0), Kind::kPlain), 1);
  EXPECT_EQ(plan.count(Rank(1), Kind::kPlain), 3);
  EXPECT_EQ(plan.count(Rank(1), Kind::kRounded), 6);
  EXPECT_EQ(plan.first(Rank(1), Kind::kPlain), 1);
}

TEST(UnitPlan, PartsHoldEveryUnitOnce) {
  for (const std::int64_t num_ranks : {1, 3, 6}) {
    for (const auto& placement : placements(64, num_ranks)) {
      const UnitPlan plan(placement, Combine::kExact);
      for (const std::int64_t n : {1, 2, 3, 4}) {
        for (Rank rank(0); rank.value < num_ranks; ++rank) {
          std::int32_t unit = 0, expert = 0;
          std::set<std::pair<std::size_t, std::int32_t>> seen;
          for (std::int64_t i = 0; i < n; ++i) {
            const UnitPlan::Part part = plan.part(rank, i, n);
            EXPECT_EQ(part.begin, unit);
            unit = part.end;
            if (part.begin < part.end) {
              EXPECT_EQ(part.first_expert, expert);
              expert = part.last_expert;
            }
            for (std::size_t kind = 0; kind < UnitPlan::kNumKinds; ++kind) {
              for (std::int32_t index = part.of_kind[kind].begin; index < part.of_kind[kind].end; ++index) {
                EXPECT_TRUE(seen.emplace(kind, index).second);
              }
            }
          }
          EXPECT_EQ(unit, std::ssize(plan.units(rank)));
          EXPECT_EQ(expert, std::ssize(placement.held_by(rank)));
          EXPECT_EQ(seen.size(), plan.units(rank).size());
        }
      }
    }
  }
}

}  // namespace
}  // namespace unmask::comm
