// SPDX-License-Identifier: Apache-2.0
#include "launcher/bench/bench_case.h"

#include <algorithm>
#include <map>

#include "base/byte_stream.h"
#include "base/clock.h"
#include "bench/known_configs.h"
#include "bench/machine_limits.h"

namespace unmask::launcher {
namespace {

/// What the threads of all ranks reached together, as one rank's share.
struct Rates {
  double bytes_per_second = 0;
  double flops = 0;

  double seconds(const Need& need) const { return std::max(need.bytes / bytes_per_second, need.flops / flops); }
};

Rates measure_limits(comm::Communicator& comm, const experts::Compute& compute, const BenchCase& one) {
  if (one.rates) {
    const runtime::DeviceRates rates = one.rates();
    return {rates.bytes_per_second, rates.flops};
  }
  comm.barrier();  // ranks of a host share its memory: they read at the same time
  const double bytes_per_second = bench::read_bytes_per_second(*compute.team, one.memory);
  comm.barrier();
  return {bytes_per_second, bench::peak_flops(*compute.team, *compute.kernels)};
}

double sum_of(const std::vector<Need>& needs, const std::function<double(const Need&)>& value) {
  double sum = 0;
  for (const Need& need : needs) {
    sum += value(need);
  }
  return sum;
}

/// By repetition.
struct Samples {
  std::vector<double> ms, limit_ms, bytes_per_second, flops;
  std::map<runtime::Stage, std::vector<double>> stage_ms;
  std::map<std::string, std::vector<double>> need_ms;
};

void add_stages(bench::Record& record, const BenchCase& one, const Samples& samples) {
  for (const auto& [stage, ms] : samples.stage_ms) {
    const auto limit = samples.need_ms.find(std::string(runtime::name_of(stage)));
    record.stages.push_back({.name = std::string(runtime::name_of(stage)), .ms = bench::quantile(ms, 0.5),
                             .limit_ms = limit == samples.need_ms.end() ? 0 : bench::quantile(limit->second, 0.5)});
  }
  std::erase_if(record.stages, [](const bench::Stage& stage) { return stage.ms == 0; });
  record.experts_touched = one.experts_touched;
}

double largest_of_all_ranks(comm::Communicator& comm, double mine) {
  double largest = 0;
  for (const auto& bytes : comm.all_gather(ByteWriter().put(mine).take())) {
    largest = std::max(largest, ByteReader(bytes).get<double>());
  }
  return largest;
}

void sample(Samples& samples, const Rates& rates, const std::vector<Need>& needs, double seconds, const BenchCase& one) {
  samples.ms.push_back(seconds * 1e3);
  samples.bytes_per_second.push_back(rates.bytes_per_second);
  samples.flops.push_back(rates.flops);
  std::map<std::string, double> by_stage;
  for (const Need& need : needs) {
    by_stage[need.stage] += rates.seconds(need) * 1e3;
  }
  for (const auto& [stage, ms] : by_stage) {
    samples.need_ms[stage].push_back(ms);
  }
  for (int i = 0; one.times != nullptr && i < static_cast<int>(runtime::Stage::kCount); ++i) {
    const auto stage = static_cast<runtime::Stage>(i);
    samples.stage_ms[stage].push_back(one.times->seconds(stage) * 1e3);
  }
}

}  // namespace

BenchPlan read_bench_plan(const Job& job) {
  BenchPlan plan;
  agreed(job.comm, [&] {
    const auto& options = job.options();
    plan.config_name = options.given("config") ? options.text("config") : "llada-moe-7b";
    plan.config = bench::bench_config(plan.config_name);
    plan.dtype = options.text("dtype");
    plan.sequences = options.integer("sequences");
    for (const TokenId rows : parse_token_list(options.given("tokens") ? options.text("tokens") : "1,8,32,128,1024", "--tokens")) {
      require(rows >= plan.sequences, ExitCode::kUsage, "--tokens: expected at least a row for each of {} sequences, found {}", plan.sequences, rows);
      plan.tokens.push_back(rows);
    }
    plan.wanted = options.integer("wanted");
    plan.context = options.integer("context");
    plan.repeat = options.integer("repeat");
    const std::int64_t longest = std::max(plan.context, *std::max_element(plan.tokens.begin(), plan.tokens.end()));
    require(longest <= (std::int64_t{1} << 20), ExitCode::kUsage, "--tokens, --context: at most {} expected, found {}", 1 << 20, longest);
  });
  return plan;
}

bench::Record measure_case(const Job& job, const BenchPlan& plan, const experts::Compute& compute, BenchCase& one) {
  Samples samples;
  std::vector<Need> needs;
  for (std::int64_t i = 0; i <= plan.repeat; ++i) {
    const Rates rates = measure_limits(job.comm, compute, one);
    job.comm.barrier();
    const Stopwatch clock;
    one.run();
    const double seconds = clock.seconds();
    if (i == 0) {
      needs = one.needs();  // buffers grow, so this run does not count
      continue;
    }
    sample(samples, rates, needs, seconds, one);
    samples.limit_ms.push_back(largest_of_all_ranks(job.comm, sum_of(needs, [&](const Need& n) { return rates.seconds(n) * 1e3; })));
  }
  const double seconds = bench::quantile(samples.ms, 0.5) / 1e3;
  const double bytes = sum_of(needs, [](const Need& n) { return n.bytes; });
  const double flops = sum_of(needs, [](const Need& n) { return n.flops; });
  const double read = bench::quantile(samples.bytes_per_second, 0.5);
  const double peak = bench::quantile(samples.flops, 0.5);
  const bool reads = bytes / read >= flops / peak;
  bench::Record record{.bench = one.bench, .parameters = one.parameters, .times_ms = samples.ms};
  record.limit = bench::Limit{.kind = reads ? "read" : "compute", .value = reads ? read : peak, .ms = bench::quantile(samples.limit_ms, 0.5)};
  record.results = {{"tokens_per_second", static_cast<double>(one.tokens * job.comm.num_ranks()) / seconds},
                    {"tflops", flops / seconds / 1e12},
                    {"gb_per_second", bytes / seconds / 1e9},
                    {"read_limit_gb_per_second", read / 1e9},
                    {"peak_tflops", peak / 1e12}};
  add_stages(record, one, samples);
  record.checked = bench::Record::Results::kChecked;  // every bench compares before it measures
  return record;
}

std::span<const std::byte> memory_of(const experts::Matrix& matrix) {
  return {reinterpret_cast<const std::byte*>(matrix.data()), size(matrix.bytes())};
}

std::vector<bench::Field> case_parameters(const BenchPlan& plan, std::int64_t tokens) {
  return {{"config", plan.config_name}, {"dtype", plan.dtype}, {"tokens", tokens}};
}

}  // namespace unmask::launcher
