// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"
#include "bench/plain_check.h"
#include "bench/synthetic_model.h"
#include "launcher/bench/bench_case.h"
#include "launcher/bench/bench_table.h"
#include "launcher/run/network.h"
#include "runtime/head.h"

namespace unmask::launcher {
namespace {

bench::Record measure(const Job& job, const BenchPlan& plan, const experts::Compute& compute, const runtime::ModelWeights& weights,
                      std::int64_t tokens) {
  const std::int64_t hidden = plan.config.hidden;
  std::vector<float> rows(size(tokens * hidden));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto word = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {5, 5})[0];
    rows[i] = round_to_bfloat16(static_cast<float>(static_cast<std::int32_t>(word)) * 0x1p-31F);
  }
  runtime::Head head(weights.head, weights.embedding, compute);
  const std::vector<runtime::HeadQuery> queries(size(tokens));
  BenchCase one{.bench = "head", .parameters = case_parameters(plan, tokens), .tokens = tokens,
                .memory = {memory_of(weights.head), memory_of(weights.embedding)}};
  one.run = [&] { head.summarise(rows, queries); };
  one.needs = [&] {
    const auto values = static_cast<double>(plan.config.vocab_size * hidden);
    return std::vector<Need>{{"head", 2 * values, 2 * values * static_cast<double>(tokens)}};
  };
  return measure_case(job, plan, compute, one);
}

}  // namespace

BenchResult bench_head(const Job& job) {
  const BenchPlan plan = read_bench_plan(job);
  const auto precision = precision_of(job.options());
  const experts::KernelFamily& kernels = agree_on_kernels(job, precision);
  ThreadTeam team(agree_on_threads(job));
  show_progress(job, team);
  const cluster::Pin pin = pin_team(job, team);
  const experts::Compute compute{&kernels, &team, precision};
  runtime::ModelConfig config = plan.config;
  config.num_layers = 0;
  runtime::ModelWeights weights;
  agreed(job.comm, [&] {
    bench::check_network(kernels, {.precision = precision}, team.size());
    weights = bench::synthetic_model(config, cluster::Placement::even(config.num_experts, job.comm.num_ranks()), job.comm.rank(),
                                     {.layout = experts::layout_of(kernels)}, team);
  });
  BenchResult result{.records = {}, .threads = team.size(), .kernel = std::string(kernels.name)};
  for (const std::int64_t tokens : plan.tokens) {
    result.records.push_back(measure(job, plan, compute, weights, tokens));
  }
  return result;
}

}  // namespace unmask::launcher
