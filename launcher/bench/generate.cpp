// SPDX-License-Identifier: Apache-2.0
// `unmask bench generate`: requests, so many at a time, from submission to answer.
#include <algorithm>
#include <iterator>

#include "bench/known_configs.h"
#include "bench/synthetic_model.h"
#include "launcher/bench/bench_table.h"
#include "launcher/bench/request_load.h"
#include "launcher/bench/request_work.h"

namespace unmask::launcher {
namespace {

Network open_network(const Job& job) {
  const OptionValues& options = job.options();
  Network::Options how{.precision = precision_of(options)};
  agreed(job.comm, [&] {
    require(options.given("model") != options.given("config"), ExitCode::kUsage,
            "bench generate: expected either --model DIR or --config NAME|FILE, found {}", options.given("model") ? "both" : "none");
    if (options.given("config")) {
      how.config = bench::bench_config(options.text("config"));
      how.make_weights = bench::synthetic_model;
    }
  });
  return Network(job, how);
}

bench::Record parameters_of(const Job& job, std::int64_t concurrency, std::int64_t count) {
  const OptionValues& options = job.options();
  bench::Record out{.bench = "generate"};
  out.parameters = {{"model", options.text(options.given("config") ? "config" : "model")}, {"concurrency", concurrency}, {"requests", count}};
  if (!options.given("requests")) {
    out.parameters.push_back({"prompt", options.integer("prompt-length")});
    out.parameters.push_back({"answer", options.integer("gen-length")});
  }
  out.parameters.push_back({"decoder", options.text("decoder")});
  out.parameters.push_back({"cache", options.text("cache")});
  return out;
}

void add_quantiles(bench::Record& record, const std::string& name, const std::vector<double>& values,
                   std::initializer_list<int> percents) {
  for (const int percent : percents) {
    record.results.push_back({format("{}_p{}_ms", name, percent), bench::quantile(values, 0.01 * percent)});
  }
}

void add_report(bench::Record& record, const LoadReport& last) {
  const double seconds = 1e-3 * bench::quantile(record.times_ms, 0.5);
  const auto per_second = [&](std::int64_t count) { return static_cast<double>(count) / seconds; };
  record.results = {{"steps", last.steps}, {"passes", last.passes}, {"rows", last.rows}, {"tokens", last.tokens},
                    {"failed", last.failed},
                    {"tokens_per_pass", static_cast<double>(last.tokens) / static_cast<double>(std::max<std::int64_t>(last.passes, 1))},
                    {"passes_per_second", per_second(last.passes)}, {"tokens_per_second", per_second(last.tokens)}};
  add_quantiles(record, "first_block", last.first_block_ms, {50, 90});
  add_quantiles(record, "inter_block", last.inter_block_ms, {50, 90});
  add_quantiles(record, "latency", last.latency_ms, {50, 90, 99});
  record.results.push_back({"kv_peak_bytes", static_cast<std::int64_t>(last.kv_peak_bytes)});
  record.results.push_back({"outside_network_percent", 100 * last.outside_share});
  if (last.device_idle_share >= 0) {
    record.results.push_back({"device_idle_percent", 100 * last.device_idle_share});
  }
}

/// Collective, when all cases are done: what the machine allows is measured behind them, as it takes much memory.
void add_limits(const Job& job, Network& network, std::vector<bench::Record>& records, const std::vector<StepCounts>& steps) {
  const LoadRoofline roofline(job, network);
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto least = roofline.of(steps[i]);
    const bool reads = least.read_seconds > least.compute_seconds;
    records[i].limit = bench::Limit{.kind = reads ? "read" : "compute",
                                    .value = reads ? roofline.machine().bytes_per_second : roofline.machine().flops,
                                    .ms = 1e3 * least.seconds()};
  }
}

}  // namespace

BenchResult bench_generate(const Job& job) {
  Network network = open_network(job);
  std::vector<TokenId> at_a_time;
  agreed(job.comm, [&] {
    at_a_time = parse_token_list(job.options().text("concurrency"), "--concurrency");
    require(!at_a_time.empty() && std::ranges::min(at_a_time) > 0, ExitCode::kUsage,
            "--concurrency: expected numbers from 1, separated by commas, found '{}'", job.options().text("concurrency"));
  });
  const std::int64_t asked = job.options().given("count") ? job.options().integer("count") : 0;
  const RequestWork work = make_request_work(job, network, std::max<std::int64_t>(asked, std::ranges::max(at_a_time)));
  network.load();
  const runtime::EngineOptions options{.max_rows = job.options().integer("max-rows"), .kv_memory_bytes = network.kv_memory_bytes(),
                                       .eos_tokens = work.special.ends, .mask_token = work.special.mask};
  const std::int64_t repeats = job.options().given("repeat") ? job.options().integer("repeat") : 1;
  BenchResult out{.records = {}, .threads = network.num_threads(), .kernel = std::string(network.device() == "cpu" ? network.kernels().name : network.device())};
  std::vector<StepCounts> steps;  // by case
  std::map<std::int64_t, std::vector<TokenId>> answers;  // the same request has the same answer in every case
  for (const std::int64_t concurrency : at_a_time) {
    const bool all = job.options().given("requests") && asked == 0;
    const auto count = all ? std::ssize(work.requests) : std::min(asked > 0 ? asked : concurrency, std::ssize(work.requests));
    bench::Record record = parameters_of(job, concurrency, count);
    LoadReport last;
    for (std::int64_t i = 0; i < repeats; ++i) {
      last = run_load(job, network, options, std::span(work.requests).first(size(count)), concurrency);
      record.times_ms.push_back(1e3 * last.seconds);
      for (auto& [number, tokens] : last.answers) {
        const auto [known, is_new] = answers.try_emplace(number, tokens);
        UNMASK_CHECK(known->second == tokens, "request {} has another answer at concurrency {} than before", number, concurrency);
        record.checked = is_new ? record.checked : bench::Record::Results::kChecked;
      }
    }
    add_report(record, last);
    out.records.push_back(std::move(record));
    steps.push_back(std::move(last.step_counts));
  }
  add_limits(job, network, out.records, steps);
  return out;
}

}  // namespace unmask::launcher
