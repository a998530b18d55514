// SPDX-License-Identifier: Apache-2.0
// The exchange of one MoE layer without experts: every row is checked.
#include <algorithm>
#include <bit>
#include <cmath>

#include "base/bfloat16.h"
#include "launcher/bench/bench_table.h"
#include "launcher/bench/layer_bench.h"
#include "launcher/run/network.h"

namespace unmask::launcher {
namespace {

/// What an expert does here: its number times the row. Weights and rows are such that routing to a wrong one shows.
float factor_of(ExpertId expert) { return 1.0F + 0.01F * static_cast<float>(expert.value); }

/// The slots that experts would compute.
void fill_slots(const cluster::ExpertWork& work, std::span<const ExpertId> held, std::int64_t hidden, std::vector<float>& slots) {
  slots.resize(size(work.num_slots * hidden));
  std::fill(slots.begin() + work.new_slots_begin * hidden, slots.begin() + work.new_slots_end * hidden, 0.0F);
  for (const auto& a : work.assignments) {
    const float factor = factor_of(held[a.expert.at()]);
    for (std::int64_t i = 0; i < hidden; ++i) {
      slots[size(a.slot * hidden + i)] += a.weight * (factor * work.rows[size(a.row * hidden + i)]);
    }
  }
}

/// The definition of exact combine, value by value; and how far fast combine may be from it: sums of at most top_k terms in
/// another order, rounded to the 8 bits of the wire at each of at most top_k places.
struct Expected {
  float value = 0;
  float bound = 0;
};
Expected expected(const cluster::Routing& routing, const cluster::ReductionGroups& groups, std::int64_t row, float x) {
  Expected out;
  float group_sum = 0;
  for (std::int64_t k = 0; k < routing.top_k; ++k) {
    const std::size_t pair = size(row * routing.top_k + k);
    const float product = routing.weights[pair] * (factor_of(routing.ids[pair]) * x);
    group_sum += product;
    out.bound += std::abs(product) * static_cast<float>(routing.top_k) * 0x1p-8F;
    if (k + 1 == routing.top_k || groups.group_of(routing.ids[pair + 1]) != groups.group_of(routing.ids[pair])) {
      out.value += round_to_bfloat16(group_sum);
      group_sum = 0;
    }
  }
  return out;
}

std::int64_t count_wrong(const bench::SyntheticRows& rows, const cluster::ReductionGroups& groups, std::int64_t hidden,
                         comm::Combine combine, std::span<const float> sums) {
  std::int64_t wrong = 0;
  for (std::int64_t row = 0; row < rows.routing().num_rows; ++row) {
    bool is_right = true;
    for (std::int64_t i = row * hidden; i < (row + 1) * hidden; ++i) {
      const auto [value, bound] = expected(rows.routing(), groups, row, rows.values()[size(i)]);
      is_right = is_right && (combine == comm::Combine::kExact ? std::bit_cast<std::uint32_t>(value) == std::bit_cast<std::uint32_t>(sums[size(i)])
                                                               : std::abs(value - sums[size(i)]) <= bound);
    }
    wrong += is_right ? 0 : 1;
  }
  return wrong;
}

bench::Record run_case(const Job& job, LayerBench& layer, std::int64_t num_rows) {
  const auto rows = layer.make_rows(num_rows);
  const auto options = exchange_options(job.options());
  const auto exchange = layer.make_exchange(options.overlap);
  const auto held = layer.placement().held_by(job.comm.rank());
  const std::int64_t hidden = layer.shape().hidden;
  std::vector<float> sums(rows.values().size()), slots;
  const auto check = [&] { return count_wrong(rows, layer.placement().groups(), hidden, options.combine, sums); };
  run_layer(*exchange, rows, sums, [&](const cluster::ExpertWork& work) -> std::span<const float> {
    fill_slots(work, held, hidden, slots);
    return slots;
  });
  std::int64_t wrong = check();
  const auto before = exchange->statistics();
  bench::Record out{.bench = "exchange", .parameters = layer.parameters(num_rows)};
  for (std::int64_t i = 0; i < job.options().integer("repeat"); ++i) {
    std::fill(sums.begin(), sums.end(), 0.0F);
    out.times_ms.push_back(layer.time_ms([&] { run_layer(*exchange, rows, sums, [&](const auto&) { return std::span<const float>(slots); }); }));
    wrong += i % 4 == 0 ? check() : 0;  // slow, so not each time
  }
  const auto after = exchange->statistics();
  const auto repeat = static_cast<double>(out.times_ms.size());
  const auto mine = [&](std::uint64_t comm::ExchangeStatistics::*bytes) { return static_cast<double>(after.*bytes - before.*bytes) / repeat; };
  const double seconds = std::max(bench::quantile(out.times_ms, 0.5) * 1e-3, 1e-9);
  const auto wrong_rows = static_cast<std::int64_t>(layer.total(static_cast<double>(wrong)));
  const auto as_integer = [](double value) { return static_cast<std::int64_t>(value); };
  out.results = {{"algorithm", std::string(exchange->algorithm())},
                 {"algorithm_gb_per_second", 1e-9 * layer.largest(mine(&comm::ExchangeStatistics::minimum_bytes)) / seconds},
                 {"bus_gb_per_second", 1e-9 * layer.largest(mine(&comm::ExchangeStatistics::wire_bytes)) / seconds},
                 {"exchange_cpu_ms", 1e3 * layer.largest(after.cpu_seconds - before.cpu_seconds) / repeat},
                 {"wire_bytes", as_integer(layer.total(mine(&comm::ExchangeStatistics::wire_bytes)))},
                 {"minimum_bytes", as_integer(layer.total(mine(&comm::ExchangeStatistics::minimum_bytes)))},
                 {"naive_bytes", as_integer(layer.total(mine(&comm::ExchangeStatistics::naive_bytes)))},
                 {"wrong_rows", wrong_rows}};
  out.checked = bench::Record::Results::kChecked;
  require(wrong_rows == 0, ExitCode::kSomeFailed, "{} rows came back wrong from an exchange of {} rows per rank", wrong_rows, num_rows);
  return out;
}

}  // namespace

BenchResult bench_exchange(const Job& job) {
  LayerBench layer(job);
  BenchResult out{.records = {}, .threads = layer.num_threads(), .kernel = "none"};
  for (const std::int64_t num_rows : layer.row_counts()) {
    out.records.push_back(run_case(job, layer, num_rows));
  }
  return out;
}

}  // namespace unmask::launcher
