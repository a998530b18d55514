// SPDX-License-Identifier: Apache-2.0
#include "launcher/check/exchange_check.h"

#include <algorithm>
#include <numeric>

#include "base/byte_stream.h"
#include "base/random.h"
#include "cluster/placement.h"
#include "comm/exchange.h"

namespace unmask::launcher {
namespace {

struct Case {
  std::int64_t num_experts;
  std::int64_t top_k;
  std::int64_t rows;  ///< of the busiest rank
  bool all_to_one;    ///< every row chooses the first experts
  comm::WireType wire;
};

constexpr std::int64_t kHidden = 24;

float factor_of(ExpertId expert) { return static_cast<float>(1 + expert.value % 3); }

/// Small whole numbers that tell source rank, row and column apart; the sums stay exact in bfloat16.
float value_of(Rank rank, std::int64_t row, std::int64_t column) {
  return static_cast<float>((rank.value * 5 + row * 3 + column) % 4);
}

struct Rows {
  std::vector<float> values;  ///< [rows, hidden]
  std::vector<ExpertId> ids;  ///< [rows, top_k]
  std::vector<float> weights;
};

Rows make_rows(const Case& c, Rank rank, std::int64_t num_rows) {
  Rows out;
  std::vector<std::int32_t> experts(size(c.num_experts));
  for (std::int64_t row = 0; row < num_rows; ++row) {
    std::iota(experts.begin(), experts.end(), 0);
    for (std::size_t i = 0; i < size(c.top_k) && !c.all_to_one; ++i) {
      const auto word = philox({static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(i), 0, 0},
                               {static_cast<std::uint32_t>(rank.value), 1})[0];
      std::swap(experts[i], experts[i + word % (experts.size() - i)]);
    }
    std::sort(experts.begin(), experts.begin() + c.top_k);
    for (std::int64_t i = 0; i < c.top_k; ++i) {
      out.ids.emplace_back(experts[size(i)]);
      out.weights.push_back(i % 2 == 0 ? 1.F : 0.5F);
    }
    for (std::int64_t column = 0; column < kHidden; ++column) {
      out.values.push_back(value_of(rank, row, column));
    }
  }
  return out;
}

/// The experts' part: slot += weight * factor * row.
void compute(const cluster::ExpertWork& work, std::span<const ExpertId> held, std::vector<float>& slots) {
  slots.resize(size(work.num_slots * kHidden));
  for (const cluster::Assignment& a : work.assignments) {
    const float scale = a.weight * factor_of(held[a.expert.at()]);
    for (std::int64_t column = 0; column < kHidden; ++column) {
      slots[size(a.slot * kHidden + column)] += scale * work.rows[size(a.row * kHidden + column)];
    }
  }
}

std::int64_t count_wrong(const Case& c, Rank rank, std::int64_t num_rows, const Rows& sent, std::span<const float> sums) {
  std::int64_t wrong = 0;
  for (std::int64_t row = 0; row < num_rows; ++row) {
    float scale = 0;
    for (std::int64_t i = 0; i < c.top_k; ++i) {
      scale += sent.weights[size(row * c.top_k + i)] * factor_of(sent.ids[size(row * c.top_k + i)]);
    }
    bool is_right = true;
    for (std::int64_t column = 0; column < kHidden; ++column) {
      is_right = is_right && sums[size(row * kHidden + column)] == scale * value_of(rank, row, column);
    }
    wrong += is_right ? 0 : 1;
  }
  return wrong;
}

ExchangeCheck run_case(const Job& job, const Case& c) {
  comm::Communicator& comm = job.comm;
  const auto placement = cluster::Placement::even(c.num_experts, comm.num_ranks());
  ThreadTeam team(1);
  // Messages of any size, so that these few rows come in chunks.
  const auto exchange = comm::make_exchange(comm, placement, team, {.hidden = kHidden, .wire = c.wire, .min_message_bytes = 1});
  // The last of several ranks is idle, the others have ever fewer rows.
  const bool is_idle = comm.num_ranks() > 1 && comm.rank().value == comm.num_ranks() - 1;
  const std::int64_t num_rows = is_idle ? 0 : std::max<std::int64_t>(c.rows - comm.rank().value, 0);
  const Rows sent = make_rows(c, comm.rank(), num_rows);
  exchange->dispatch(sent.values, {num_rows, c.top_k, sent.ids, sent.weights}, {.vote = comm::Vote::kWork});
  exchange->arrive();
  std::vector<float> slots;
  for (std::int64_t chunk = 0; chunk < exchange->num_chunks(); ++chunk) {
    compute(exchange->receive(chunk), placement.held_by(comm.rank()), slots);
    exchange->give_back(chunk, slots);
  }
  std::vector<float> sums(size(num_rows * kHidden));
  exchange->combine(sums);

  ExchangeCheck result{.what = format("{} experts, top {}{}, {}", c.num_experts, c.top_k, c.all_to_one ? ", all rows to the same" : "",
                                      c.wire == comm::WireType::kFloat32 ? "f32" : "bf16")};
  ByteWriter mine;
  mine.put(num_rows).put(count_wrong(c, comm.rank(), num_rows, sent, sums));
  for (const auto& bytes : comm.all_gather(mine.take())) {
    ByteReader reader(bytes);
    result.num_rows += reader.get<std::int64_t>();
    result.num_wrong += reader.get<std::int64_t>();
  }
  return result;
}

}  // namespace

std::vector<ExchangeCheck> check_exchange(const Job& job) {
  std::vector<ExchangeCheck> results;
  for (const comm::WireType wire : {comm::WireType::kFloat32, comm::WireType::kBfloat16}) {
    for (const Case& c : {Case{64, 8, 33, false, wire}, Case{11, 3, 7, false, wire}, Case{4, 1, 1, false, wire},
                          Case{64, 8, 20, true, wire}, Case{16, 2, 0, false, wire}}) {
      results.push_back(run_case(job, c));
    }
  }
  return results;
}

}  // namespace unmask::launcher
