// SPDX-License-Identifier: Apache-2.0
#include "tests/comm/exchange_cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>
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

/// Computes a chunk's slots as the experts would, and checks on the way that every row is where its own values say it belongs.
/// Slots of chunks to come are full of NaN.
void compute_slots(const ExchangeCase& c, int layer, const cluster::ExpertWork& work, std::span<const ExpertId> held,
                   std::vector<float>& slots) {
  slots.resize(size(work.num_slots * c.hidden), std::numeric_limits<float>::quiet_NaN());
  std::fill(slots.begin() + work.new_slots_begin * c.hidden, slots.begin() + work.new_slots_end * c.hidden, 0.0F);
  std::vector<int> slot_uses(size(work.num_slots), 0);
  std::pair<std::int32_t, std::int32_t> last(-1, -1);
  for (const auto& a : work.assignments) {
    EXPECT_TRUE(a.row >= 0 && a.row < work.num_rows && a.slot >= 0 && a.slot < work.new_slots_end);
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
  EXPECT_TRUE(std::all_of(slot_uses.begin() + work.new_slots_begin, slot_uses.begin() + work.new_slots_end,
                          [](int uses) { return uses > 0; }))
      << "a slot nobody begins";
}

constexpr float kBefore = -1.0F;  // what the sums are added to

/// What a rank brings to a layer.
struct LayerInput {
  std::vector<float> rows;
  Choice all;
  std::vector<float> expected;
  std::int64_t num_rows = 0;
};
LayerInput make_input(const ExchangeCase& c, WireType wire, int layer, const Communicator& comm) {
  LayerInput in;
  const auto rank = comm.rank().value;
  in.num_rows = num_rows(c, layer, rank, comm.num_ranks());
  for (std::int64_t row = 0; row < in.num_rows; ++row) {
    const auto values = row_values(c, wire, layer, rank, row);
    const auto choice = choose(c, layer, rank, row);
    in.rows.insert(in.rows.end(), values.begin(), values.end());
    in.all.ids.insert(in.all.ids.end(), choice.ids.begin(), choice.ids.end());
    in.all.weights.insert(in.all.weights.end(), choice.weights.begin(), choice.weights.end());
    const auto sums = reference(c, wire, choice, values);
    std::transform(sums.begin(), sums.end(), std::back_inserter(in.expected), [](float sum) { return kBefore + sum; });
  }
  return in;
}

/// One layer from rows to sums, step by step.
class LayerRun {
 public:
  LayerRun(Communicator& comm, const ExchangeCase& c, WireType wire, int layer, const cluster::Placement& placement, Exchange& exchange)
      : comm_(comm), case_(c), layer_(layer), placement_(placement), in_(make_input(c, wire, layer, comm)), exchange_(exchange) {}

  void dispatch() {
    const bool stop = comm_.rank().value == layer_ % comm_.num_ranks();
    exchange_.dispatch(in_.rows, {in_.num_rows, case_.top_k, in_.all.ids, in_.all.weights},
                       {.vote = (in_.num_rows > 0 ? Vote::kWork : Vote::kIdle) | (stop ? Vote::kStop : Vote::kIdle),
                        .first_half = in_.num_rows / 3});
  }
  void compute() {
    Census expected;
    for (std::int64_t r = 0; r < comm_.num_ranks(); ++r) {
      expected.num_rows += num_rows(case_, layer_, r, comm_.num_ranks());
      expected.first_half += num_rows(case_, layer_, r, comm_.num_ranks()) / 3;
    }
    const Census census = exchange_.arrive();
    EXPECT_TRUE(has(census.votes, Vote::kStop));
    EXPECT_EQ(has(census.votes, Vote::kWork), expected.num_rows > 0);
    EXPECT_EQ(census.num_rows, expected.num_rows);
    EXPECT_EQ(census.first_half, expected.first_half);
    for (std::int64_t chunk = 0; chunk < exchange_.num_chunks(); ++chunk) {
      const auto work = exchange_.receive(chunk);
      EXPECT_LE(work.num_rows, expected.num_rows) << "each row comes once, however many experts it has here";
      compute_slots(case_, layer_, work, placement_.held_by(comm_.rank()), slots_);
      exchange_.give_back(chunk, slots_);
    }
  }
  /// What the layer added to values that were there.
  std::vector<float> combine() {
    std::vector<float> values(in_.rows.size(), kBefore);
    exchange_.combine(values);
    return values;
  }
  const LayerInput& input() const { return in_; }
  int number() const { return layer_; }

 private:
  Communicator& comm_;
  const ExchangeCase& case_;
  int layer_;
  const cluster::Placement& placement_;
  LayerInput in_;
  Exchange& exchange_;
  std::vector<float> slots_;
};

std::vector<float> run_layer(LayerRun layer) {
  layer.dispatch();
  layer.compute();
  return layer.combine();
}

std::int64_t count_different(std::span<const float> a, std::span<const float> b) {
  std::int64_t different = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    different += std::bit_cast<std::uint32_t>(a[i]) != std::bit_cast<std::uint32_t>(b[i]) ? 1 : 0;
  }
  return different;
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
      {.name = "ChangingSizes", .num_experts = 32, .top_k = 4, .rows = Rows::kChanging, .layout = Layout::kShuffled, .num_layers = 12},
      {.name = "Wide", .hidden = 2048, .rows = Rows::kSome, .num_layers = 1},
  };
}

std::vector<ExchangeSetting> exchange_settings() {
  return {{.wire = WireType::kBfloat16},
          {.wire = WireType::kFloat32, .num_threads = 2},
          {.wire = WireType::kBfloat16, .overlap = Overlap::kOff},
          {.wire = WireType::kBfloat16, .min_message_bytes = 1000, .algorithm = Algorithm::kAllGather},
          {.wire = WireType::kBfloat16, .num_threads = 2, .in_turns = true},
          {.wire = WireType::kFloat32, .overlap = Overlap::kOff, .algorithm = Algorithm::kAllGather, .in_turns = true}};
}

void run_exchange_case(Communicator& comm, const ExchangeCase& c, const ExchangeSetting& setting) {
  const auto placement = make_placement(c, comm.num_ranks());
  ThreadTeam team(setting.num_threads);
  const auto exchange = make_exchange(comm, placement, team,
                                      {.hidden = c.hidden, .wire = setting.wire, .overlap = setting.overlap,
                                       .algorithm = setting.algorithm, .min_message_bytes = setting.min_message_bytes});
  const auto combine = [&](LayerRun& layer) {
    const auto values = layer.combine();
    EXPECT_EQ(count_different(values, layer.input().expected), 0) << "of " << values.size() << " values, rank " << comm.rank().value << ", layer " << layer.number();
  };
  const std::size_t turns = setting.in_turns ? 2 : 1;
  std::vector<LayerRun> under_way, next;
  for (int layer = 0; layer < c.num_layers;) {  // as the micro-batches of a pass take their turns
    next.clear();
    next.reserve(turns);
    for (std::size_t i = 0; i < turns; ++i) {
      if (i < under_way.size()) {
        combine(under_way[i]);
      }
      if (layer < c.num_layers) {
        next.emplace_back(comm, c, setting.wire, layer++, placement, i == 0 ? *exchange : exchange->twin()).dispatch();
      }
    }
    std::for_each(next.begin(), next.end(), [](LayerRun& run) { run.compute(); });
    under_way.swap(next);
  }
  std::for_each(under_way.begin(), under_way.end(), combine);
  const auto statistics = exchange->statistics();
  EXPECT_GE(statistics.wire_bytes, statistics.minimum_bytes);
  if (setting.algorithm == Algorithm::kAllGather && c.rows == Rows::kSome && comm.num_ranks() > 1) {
    const std::uint64_t first_ones = setting.in_turns && c.num_layers > 1 ? 2 : 1;  // of each exchange
    EXPECT_EQ(statistics.gathered_layers + first_ones, size(c.num_layers)) << "all but the first layer fit into what the one before had";
  }
  if (comm.num_ranks() == 1) {
    EXPECT_EQ(statistics.wire_bytes, 0U);
  }
}

void run_fast_combine(Communicator& comm, const ExchangeCase& c) {
  const auto placement = make_placement(c, comm.num_ranks());
  ThreadTeam team(1);
  ExchangeOptions options{.hidden = c.hidden, .wire = WireType::kFloat32, .min_message_bytes = 1};
  const auto exact = make_exchange(comm, placement, team, options);
  options.combine = Combine::kFast;
  const auto fast = make_exchange(comm, placement, team, options);
  const auto again = make_exchange(comm, placement, team, options);
  for (int layer = 0; layer < c.num_layers; ++layer) {
    const auto run = [&](Exchange& exchange) { return run_layer(LayerRun(comm, c, options.wire, layer, placement, exchange)); };
    const auto expected = run(*exact), sums = run(*fast), same = run(*again);
    EXPECT_EQ(count_different(sums, same), 0);
    float largest = 0, difference = 0;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      difference = std::max(difference, std::abs(expected[i] - sums[i]));
    }
    // Sums of at most top_k terms in another order, each off by half a unit of the largest value on the way.
    EXPECT_LE(difference, static_cast<float>(4 * c.top_k) * 0x1p-23F * largest);
  }
  EXPECT_LE(fast->statistics().minimum_bytes, exact->statistics().minimum_bytes);
}

}  // namespace unmask::comm::test
