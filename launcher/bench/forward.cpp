// SPDX-License-Identifier: Apache-2.0
#include "launcher/bench/bench_table.h"
#include "launcher/bench/network_case.h"

namespace unmask::launcher {

BenchResult bench_forward(const Job& job) {
  const BenchPlan plan = read_bench_plan(job);
  NetworkBench network(job, plan, plan.config);
  BenchResult result{.records = {}, .threads = network.num_threads(), .kernel = network.kernel()};
  for (const std::int64_t tokens : plan.tokens) {
    result.records.push_back(network.measure("forward", NetworkBench::Part::kForward, tokens));
  }
  network.write_recordings();
  return result;
}

/// One layer of the network with experts so small that they do not count.
BenchResult bench_attention(const Job& job) {
  BenchPlan plan = read_bench_plan(job);
  runtime::ModelConfig config = plan.config;
  config.num_layers = 2;  // in the last one only the wanted rows ask
  config.num_experts = 1;
  config.experts_per_token = 1;
  config.expert_width = 32;
  NetworkBench network(job, plan, config);
  BenchResult result{.records = {}, .threads = network.num_threads(), .kernel = network.kernel()};
  for (const std::int64_t tokens : plan.tokens) {
    result.records.push_back(network.measure("attention", NetworkBench::Part::kAttention, tokens));
  }
  return result;
}

}  // namespace unmask::launcher
