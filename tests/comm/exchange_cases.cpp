// SPDX-License-Identifier: Apache-2.0
#include "tests/comm/exchange_cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <numeric>

#include "base/bfloat16.h"
#include "base/random.h"
#include "cluster/placement.h"

namespace unmask::comm::test {
namespace {

std::uint32_t random_word(std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  return philox({a, b, c, d}, {0x756e6d61U, 0x736bU})[0];
}

float to_wire(WireType wire, float x) { return wire == WireType::kBfloat16 ? round_to_bfloat16(x) : x; }

std::int64_t num_rows(const ExchangeCase& c, int layer, std::int64_t rank, std::int64_t num_ranks) {
  switch (c.rows) {
    case Rows::kNone:
      return 0;
    case Rows::kOne:
      return 1;
    case Rows::kSome:
      return 19 + rank;
    case Rows::kOneIdle:
      return rank == num_ranks / 2 ? 0 : 9;
    case Rows::kOnlyOneBusy:
      return rank == num_ranks - 1 ? 23 : 0;
    case Rows::kChanging:
      return random_word(1, static_cast<std::uint32_t>(layer), static_cast<std::uint32_t>(rank), 0) % 40;
  }
  return 0;
}

/// A row's experts, ascending, and weights: everyone can compute those of any rank's row.
struct Choice {
  std::vector<ExpertId> ids;
  std::vector<float> weights;
};
Choice choose(const ExchangeCase& c, int layer, std::int64_t rank, std::int64_t row) {
  Choice choice;
  std::vector<std::pair<std::uint32_t, std::int64_t>> scores;
  for (std::int64_t e = 0; e < c.num_experts; ++e) {
    auto score = random_word(static_cast<std::uint32_t>(layer), static_cast<std::uint32_t>(rank),
                             static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(e));
    if ((c.routes == Routes::kOneExpert && e == c.num_experts - 1) || (c.routes == Routes::kSkewed && e < c.top_k && row % 7 != 0)) {
      score = 0;
    }
    scores.emplace_back(score, e);
  }
  std::sort(scores.begin(), scores.end());
  scores.resize(size(c.top_k));
  std::sort(scores.begin(), scores.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  for (const auto& [score, e] : scores) {
    choice.ids.emplace_back(e);
    choice.weights.push_back(static_cast<float>(random_word(9, static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(e),
                                                            static_cast<std::uint32_t>(layer)) %
                                                1000) /
                             1000.0F);
  }
  return choice;
}

/// The first two values say where a row comes from (both exact in bfloat16), the others make sums round.
std::vector<float> row_values(const ExchangeCase& c, WireType wire, int layer, std::int64_t rank, std::int64_t row) {
  std::vector<float> values{static_cast<float>(rank), static_cast<float>(row)};
  for (std::int64_t i = 2; i < c.hidden; ++i) {
    const auto word = random_word(7 + static_cast<std::uint32_t>(layer), static_cast<std::uint32_t>(rank),
                                  static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(i));
    values.push_back(to_wire(wire, (static_cast<float>(word % 20011) - 10005.0F) / 777.0F));
  }
  return values;
}

float expert(ExpertId e, float x) { return x * (0.31F + 0.07F * static_cast<float>(e.value)) - static_cast<float>(e.value); }

/// The definition, word for word: groups ascending, experts ascending within a group, each group rounded once.
std::vector<float> reference(const ExchangeCase& c, WireType wire, const Choice& choice, const std::vector<float>& row) {
  const cluster::ReductionGroups groups{c.num_experts};
  std::vector<float> sums;
  for (const float x : row) {
    float sum = 0;
    for (std::int64_t g = 0; g < groups.num_groups(); ++g) {
      float partial = 0;
      bool touched = false;
      for (std::size_t j = 0; j < choice.ids.size(); ++j) {
        if (groups.group_of(choice.ids[j]) == GroupId(g)) {
          partial += choice.weights[j] * expert(choice.ids[j], x);
          touched = true;
        }
      }
      if (touched) {
        sum += to_wire(wire, partial);
      }
    }
    sums.push_back(sum);
  }
  return sums;
}

cluster::Placement make_placement(const ExchangeCase& c, std::int64_t num_ranks) {
  if (c.layout == Layout::kEven) {
    return cluster::Placement::even(c.num_experts, num_ranks);
  }
  std::vector<Rank> owner;
  for (std::int64_t e = 0; e < c.num_experts; ++e) {
    const auto word = random_word(3, static_cast<std::uint32_t>(e), static_cast<std::uint32_t>(c.num_experts), 0);
    owner.emplace_back(c.layout == Layout::kAllOnLast ? num_ranks - 1 : word % num_ranks);
  }
  return {std::move(owner), num_ranks};
}

/// Computes the slots as the experts would, and checks on the way that every row is where its own values say it belongs.
std::vector<float> compute_slots(const ExchangeCase& c, int layer, const cluster::ExpertWork& work,
                                 std::span<const ExpertId> held) {
  std::vector<float> slots(size(work.num_slots * c.hidden), 0.0F);
  std::vector<int> slot_uses(size(work.num_slots), 0);
  std::pair<std::int32_t, std::int32_t> last(-1, -1);
  for (const auto& a : work.assignments) {
    EXPECT_TRUE(a.row >= 0 && a.row < work.num_rows && a.slot >= 0 && a.slot < work.num_slots);
    const std::pair<std::int32_t, std::int32_t> here(a.expert.value, a.row);
    EXPECT_LT(last, here) << "assignments must ascend by (expert, row)";
    last = here;
    const float* row = work.rows.data() + a.row * c.hidden;
    const auto choice = choose(c, layer, static_cast<std::int64_t>(row[0]), static_cast<std::int64_t>(row[1]));
    const auto id = std::find(choice.ids.begin(), choice.ids.end(), held[a.expert.at()]);
    EXPECT_NE(id, choice.ids.end()) << "row " << row[1] << " of rank " << row[0] << " never asked for this expert";
    if (id != choice.ids.end()) {
      EXPECT_EQ(a.weight, choice.weights[size(id - choice.ids.begin())]);
    }
    for (std::int64_t i = 0; i < c.hidden; ++i) {
      slots[size(a.slot * c.hidden + i)] += a.weight * expert(held[a.expert.at()], row[i]);
    }
    ++slot_uses[size(a.slot)];
  }
  EXPECT_TRUE(std::all_of(slot_uses.begin(), slot_uses.end(), [](int uses) { return uses > 0; })) << "a slot nobody writes";
  return slots;
}

void run_layer(Communicator& comm, const ExchangeCase& c, WireType wire, int layer, const cluster::Placement& placement,
               Exchange& exchange) {
  const auto rank = comm.rank().value;
  const std::int64_t count = num_rows(c, layer, rank, comm.num_ranks());
  std::vector<float> rows;
  Choice all;
  std::vector<float> expected;
  for (std::int64_t row = 0; row < count; ++row) {
    const auto values = row_values(c, wire, layer, rank, row);
    const auto choice = choose(c, layer, rank, row);
    rows.insert(rows.end(), values.begin(), values.end());
    all.ids.insert(all.ids.end(), choice.ids.begin(), choice.ids.end());
    all.weights.insert(all.weights.end(), choice.weights.begin(), choice.weights.end());
    const auto sums = reference(c, wire, choice, values);
    expected.insert(expected.end(), sums.begin(), sums.end());
  }
  const bool stop = rank == layer % comm.num_ranks();
  const auto arrived = exchange.dispatch(rows, {count, c.top_k, all.ids, all.weights},
                                         (count > 0 ? Vote::kWork : Vote::kIdle) | (stop ? Vote::kStop : Vote::kIdle));
  std::int64_t total = 0;
  for (std::int64_t r = 0; r < comm.num_ranks(); ++r) {
    total += num_rows(c, layer, r, comm.num_ranks());
  }
  EXPECT_TRUE(has(arrived.votes, Vote::kStop));
  EXPECT_EQ(has(arrived.votes, Vote::kWork), total > 0);
  EXPECT_LE(arrived.work.num_rows, total) << "each row comes once, however many experts it has here";
  const auto slots = compute_slots(c, layer, arrived.work, placement.held_by(comm.rank()));
  std::vector<float> sums(rows.size(), -1.0F);
  exchange.combine(slots, sums);

  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    wrong += std::bit_cast<std::uint32_t>(sums[i]) != std::bit_cast<std::uint32_t>(expected[i]) ? 1 : 0;
  }
  EXPECT_EQ(wrong, 0) << "of " << sums.size() << " values, rank " << rank << ", layer " << layer;
}

}  // namespace

std::vector<ExchangeCase> exchange_cases() {
  return {
      {.name = "ZeroRows", .rows = Rows::kNone},
      {.name = "OneRow", .rows = Rows::kOne},
      {.name = "AllToOneExpert", .top_k = 1, .routes = Routes::kOneExpert},
      {.name = "Skewed", .routes = Routes::kSkewed},
      {.name = "OneIdle", .rows = Rows::kOneIdle},
      {.name = "OnlyOneBusy", .rows = Rows::kOnlyOneBusy},
      {.name = "Random64Top8", .num_layers = 5},
      {.name = "Eleven", .num_experts = 11, .top_k = 3, .hidden = 33},
      {.name = "Sixteen", .num_experts = 16, .top_k = 5, .hidden = 7},
      {.name = "Shuffled64", .layout = Layout::kShuffled},
      {.name = "Shuffled16", .num_experts = 16, .top_k = 16, .layout = Layout::kShuffled},
      {.name = "AllOnLast", .layout = Layout::kAllOnLast},
      {.name = "FewExperts", .num_experts = 3, .top_k = 2},
      {.name = "OneExpert", .num_experts = 1, .top_k = 1, .hidden = 3},
      {.name = "ChangingSizes", .num_experts = 32, .top_k = 4, .rows = Rows::kChanging, .layout = Layout::kShuffled, .num_layers = 30},
      {.name = "Wide", .hidden = 2048, .rows = Rows::kSome, .num_layers = 1},
  };
}

void run_exchange_case(Communicator& comm, const ExchangeCase& c, WireType wire) {
  const auto placement = make_placement(c, comm.num_ranks());
  const auto exchange = make_exchange(comm, placement, {.hidden = c.hidden, .wire = wire});
  for (int layer = 0; layer < c.num_layers; ++layer) {
    run_layer(comm, c, wire, layer, placement, *exchange);
  }
  if (comm.num_ranks() == 1) {
    EXPECT_EQ(exchange->statistics().wire_bytes, 0U);
  }
}

}  // namespace unmask::comm::test
