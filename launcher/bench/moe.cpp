// SPDX-License-Identifier: Apache-2.0
// One MoE layer: compute alone, exchange alone, one after the other, and overlapped.
#include <algorithm>
#include <cstring>

#include "bench/machine_limits.h"
#include "experts/grouped_experts.h"
#include "launcher/bench/bench_table.h"
#include "launcher/bench/layer_bench.h"
#include "launcher/run/network.h"
#include "launcher/run/trace_file.h"

namespace unmask::launcher {
namespace {

/// By repetition, milliseconds of the slowest rank.
struct Times {
  std::vector<double> compute, exchange, exchange_cpu, sequential, overlapped, limit;
};

/// Rates of this rank, measured while all ranks measure.
struct Rates {
  double read = 0;
  double flops = 0;
};

class MoeCase {
 public:
  MoeCase(LayerBench& layer, const experts::Compute& compute, const experts::ExpertWeights& weights, std::int64_t num_rows, Trace* trace)
      : layer_(layer), compute_(compute), weights_(weights), rows_(layer.make_rows(num_rows)),
        plain_(layer.make_exchange(comm::Overlap::kOff)), pipeline_(layer.make_exchange(comm::Overlap::kOn, trace)),
        sums_(rows_.values().size()), overlapped_sums_(rows_.values().size()), num_rows_(num_rows) {}

  bench::Record run(std::int64_t repeat);

 private:
  void repeat(Times& times, bool counts);
  std::span<const float> compute(const cluster::ExpertWork& work) {
    return experts_.run(compute_, weights_, layer_.shape().hidden, work);
  }
  double limit_ms(const cluster::ExpertWork& work, const Rates& rates) const;
  Rates measure_rates();

  LayerBench& layer_;
  experts::Compute compute_;
  const experts::ExpertWeights& weights_;
  bench::SyntheticRows rows_;
  std::unique_ptr<comm::Exchange> plain_, pipeline_;
  std::vector<float> sums_, overlapped_sums_;
  experts::GroupedExperts experts_;
  std::int64_t num_rows_;
  std::int64_t num_wrong_ = 0;
};

Rates MoeCase::measure_rates() {
  std::vector<std::span<const std::byte>> memory;
  for (const auto& expert : weights_) {
    for (const experts::Matrix* m : {&expert.gate, &expert.up, &expert.down}) {
      memory.push_back(std::as_bytes(std::span(m->data(), size(m->rows() * m->cols()))));
    }
  }
  Rates rates;
  layer_.time_ms([&] { rates.read = bench::read_bytes_per_second(layer_.team(), memory); });
  layer_.time_ms([&] { rates.flops = bench::peak_flops(layer_.team(), *compute_.kernels); });
  return rates;
}

/// Reading the weights of the experts that have rows, or multiplying, whichever takes longer.
double MoeCase::limit_ms(const cluster::ExpertWork& work, const Rates& rates) const {
  std::int64_t num_busy = 0;
  for (std::size_t i = 0; i < work.assignments.size(); ++i) {
    num_busy += i == 0 || work.assignments[i].expert != work.assignments[i - 1].expert ? 1 : 0;
  }
  const auto weights = 3.0 * static_cast<double>(layer_.shape().hidden * layer_.shape().width);
  const double read = 2.0 * weights * static_cast<double>(num_busy) / rates.read;
  const double multiply = 2.0 * weights * static_cast<double>(work.assignments.size()) / rates.flops;
  return 1e3 * std::max(read, multiply);
}

void MoeCase::repeat(Times& times, bool counts) {
  const Rates rates = measure_rates();
  double compute_ms = 0, limit = 0;
  std::span<const float> slots;
  run_layer(*plain_, rows_, sums_, [&](const cluster::ExpertWork& work) {
    compute_ms = layer_.time_ms([&] { slots = compute(work); });
    limit = layer_.largest(limit_ms(work, rates));
    return slots;
  });
  const double cpu_before = plain_->statistics().cpu_seconds;
  const double exchange_ms = layer_.time_ms([&] { run_layer(*plain_, rows_, sums_, [&](const auto&) { return slots; }); });
  const double cpu_ms = layer_.largest(1e3 * (plain_->statistics().cpu_seconds - cpu_before));
  std::fill(sums_.begin(), sums_.end(), 0.0F);
  std::fill(overlapped_sums_.begin(), overlapped_sums_.end(), 0.0F);
  const double sequential_ms = layer_.time_ms([&] { run_layer(*plain_, rows_, sums_, [&](const auto& work) { return compute(work); }); });
  const double overlapped_ms =
      layer_.time_ms([&] { run_layer(*pipeline_, rows_, overlapped_sums_, [&](const auto& work) { return compute(work); }); });
  if (!sums_.empty()) {
    num_wrong_ += std::memcmp(sums_.data(), overlapped_sums_.data(), sums_.size() * sizeof(float)) == 0 ? 0 : 1;
  }
  if (counts) {
    times.compute.push_back(compute_ms);
    times.exchange.push_back(exchange_ms);
    times.exchange_cpu.push_back(cpu_ms);
    times.sequential.push_back(sequential_ms);
    times.overlapped.push_back(overlapped_ms);
    times.limit.push_back(limit);
  }
}

bench::Record MoeCase::run(std::int64_t repetitions) {
  Times times;
  repeat(times, false);  // buffers grow
  const auto before = pipeline_->statistics();
  for (std::int64_t i = 0; i < repetitions; ++i) {
    repeat(times, true);
  }
  const auto after = pipeline_->statistics();
  const auto per_layer = [&](std::uint64_t comm::ExchangeStatistics::*bytes) {
    return static_cast<std::int64_t>(layer_.total(static_cast<double>(after.*bytes - before.*bytes)) / static_cast<double>(repetitions));
  };
  const auto wire = per_layer(&comm::ExchangeStatistics::wire_bytes);
  const auto minimum = per_layer(&comm::ExchangeStatistics::minimum_bytes);
  const auto naive = per_layer(&comm::ExchangeStatistics::naive_bytes);
  const bool is_right = layer_.largest(static_cast<double>(num_wrong_)) == 0;
  const auto median = [](const std::vector<double>& values) { return bench::quantile(values, 0.5); };
  const double compute_ms = median(times.compute), exchange_ms = median(times.exchange), overlapped_ms = median(times.overlapped);
  bench::Record out{.bench = "moe", .parameters = layer_.parameters(num_rows_), .times_ms = times.overlapped};
  out.results = {{"compute_ms", compute_ms}, {"compute_share", median(times.limit) / std::max(compute_ms, 1e-9)},
                 {"exchange_ms", exchange_ms}, {"exchange_cpu_ms", median(times.exchange_cpu)},
                 {"sequential_ms", median(times.sequential)}, {"overlapped_ms", overlapped_ms},
                 {"hidden_fraction", exchange_ms > 0 ? 1 - (overlapped_ms - compute_ms) / exchange_ms : 0.0},
                 {"chunks", pipeline_->num_chunks()}, {"wire_bytes", wire}, {"minimum_bytes", minimum}, {"naive_bytes", naive}};
  out.checked = is_right ? bench::Record::Results::kChecked : bench::Record::Results::kUnchecked;
  require(is_right, ExitCode::kSomeFailed, "the overlapped layer gave other bits than the sequential one");
  return out;
}

}  // namespace

BenchResult bench_moe(const Job& job) {
  LayerBench layer(job);
  const experts::KernelFamily& kernels = agree_on_kernels(job, experts::Precision::kBfloat16);
  const experts::Compute compute{&kernels, &layer.team(), experts::Precision::kBfloat16};
  bench::ExpertShape held = layer.shape();
  held.num_experts = std::ssize(layer.placement().held_by(job.comm.rank()));
  const auto weights = bench::synthetic_experts(held, compute);
  BenchResult out{.records = {}, .threads = layer.num_threads(), .kernel = std::string(kernels.name)};
  Trace trace;
  for (const std::int64_t num_rows : layer.row_counts()) {
    out.records.push_back(MoeCase(layer, compute, weights, num_rows, &trace).run(job.options().integer("repeat")));
  }
  if (job.options().given("trace")) {
    write_trace(job, trace, job.options().text("trace"));
  }
  return out;
}

}  // namespace unmask::launcher
