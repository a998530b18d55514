// SPDX-License-Identifier: Apache-2.0
// needless_rows [--config NAME|FILE] [--layers N] [--repeat N] [--threads N]: what it saves to compute no row that nobody
// asks for, and what smoothing adds, on synthetic weights; first it checks that asking for fewer rows changes none of them.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <set>
#include <thread>

#include <CLI/CLI.hpp>

#include "base/clock.h"
#include "bench/known_configs.h"
#include "bench/machine_limits.h"
#include "bench/record.h"
#include "bench/synthetic_model.h"
#include "comm/threads/thread_world.h"
#include "runtime/host_transformer.h"

namespace unmask::bench {
namespace {

struct Options {
  std::string config = "llada-moe-7b";
  std::int64_t num_layers = 2;
  std::int64_t most_rows = 1024;
  int repeat = 7;
  int num_threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
};

/// A sequence of `rows` rows, of which the last `wanted` ones are asked for.
runtime::StepBatch batch_of(const runtime::ModelConfig& config, std::int64_t rows, std::int64_t wanted) {
  std::vector<TokenId> tokens;
  for (std::int64_t r = 0; r < rows; ++r) {
    tokens.push_back(static_cast<TokenId>(r * 7919 % config.vocab_size));
  }
  runtime::StepBatch batch;
  batch.add(tokens);
  for (std::int64_t r = rows - wanted; r < rows; ++r) {
    batch.wanted.emplace_back(r);
  }
  return batch;
}

class Bench {
 public:
  Bench(const Options& options, const runtime::ModelConfig& config, const runtime::ModelWeights& weights,
        comm::Communicator& comm, const experts::Compute& compute)  // all outlive the bench
      : options_(options),
        config_(config),
        weights_(weights),
        compute_(compute),
        placement_(cluster::Placement::even(config.num_experts, 1)),
        exchange_(comm::make_exchange(comm, placement_, *compute.team, {.hidden = config.hidden})),
        transformer_(config, weights, *exchange_, compute),
        bare_config_(without_layers(config)),
        bare_(bare_config_, weights, *exchange_, compute) {}

  std::vector<Record> run() {
    check();
    std::vector<std::int64_t> counts = {32, 256, options_.most_rows};
    std::erase_if(counts, [&](std::int64_t rows) { return rows > options_.most_rows; });
    for (const std::int64_t rows : counts) {
      const auto batch = batch_of(config_, rows, 1);
      measure({.bench = "needless_rows", .parameters = {{"what", std::string("embedding lookup")}, {"rows", rows}, {"wanted", std::int64_t{1}}}},
              0, [&] { static_cast<void>(bare_.forward(batch, comm::Vote::kWork)); });
    }
    for (const std::int64_t rows : counts) {
      head("head", rows, runtime::Expectation::kNone);
      head("head and expected embeddings", rows, runtime::Expectation::kEmbedding);
    }
    for (const std::int64_t rows : counts) {
      for (const std::int64_t wanted : std::set<std::int64_t>{8, 32, rows}) {
        pass(rows, wanted);
      }
    }
    return std::move(records_);
  }

 private:
  static runtime::ModelConfig without_layers(runtime::ModelConfig config) {
    config.num_layers = 0;
    return config;
  }

  void measure(Record record, double bytes, const std::function<void()>& body) {
    std::vector<double> rates;
    const std::span<const experts::Matrix> head(&weights_.head, 1);
    const auto memory = std::as_bytes(std::span(head[0].data(), size(head[0].rows() * head[0].cols())));
    for (int i = 0; i <= options_.repeat; ++i) {
      const double rate = read_bytes_per_second(*compute_.team, std::vector{memory.first(memory.size() / 2), memory.last(memory.size() / 2)});
      const Stopwatch clock;
      body();
      if (i > 0) {  // buffers grow in the first
        record.times_ms.push_back(clock.seconds() * 1e3);
        rates.push_back(rate);
      }
    }
    if (bytes > 0) {
      const double rate = quantile(rates, 0.5);
      record.limit = Limit{.kind = "read", .value = rate, .ms = bytes / rate * 1e3};
    }
    record.checked = Record::Results::kChecked;
    records_.push_back(std::move(record));
  }

  void head(const std::string& what, std::int64_t rows, runtime::Expectation expectation) {
    const auto batch = batch_of(config_, rows, rows);
    transformer_.forward(batch, comm::Vote::kWork);
    const std::vector<runtime::HeadQuery> queries(size(rows), {.excluded = 0, .apart = {}, .expectation = expectation});
    const double matrices = expectation == runtime::Expectation::kNone ? 1 : 2;
    measure({.bench = "needless_rows", .parameters = {{"what", what}, {"rows", rows}, {"wanted", rows}}},
            matrices * static_cast<double>(weights_.head.bytes()),
            [&] { static_cast<void>(transformer_.summarise(queries)); });
  }

  void pass(std::int64_t rows, std::int64_t wanted) {
    if (wanted > rows) {
      return;
    }
    const auto batch = batch_of(config_, rows, wanted);
    measure({.bench = "needless_rows",
             .parameters = {{"what", format("pass of {} layers", config_.num_layers)}, {"rows", rows}, {"wanted", wanted}}},
            0, [&] { static_cast<void>(transformer_.forward(batch, comm::Vote::kWork)); });
  }

  /// A row that is asked for is the same, bit for bit, whatever else is asked for; so is what the head says of it.
  void check() {
    const std::int64_t rows = std::min<std::int64_t>(64, options_.most_rows);
    transformer_.forward(batch_of(config_, rows, rows), comm::Vote::kWork);
    const auto all = transformer_.rows();
    transformer_.forward(batch_of(config_, rows, 1), comm::Vote::kWork);
    const auto one = transformer_.rows();
    require(std::ranges::equal(one, std::span(all).last(one.size())), ExitCode::kSomeFailed, "a row differs with the rows asked for beside it");
    for (const auto expectation : {runtime::Expectation::kNone, runtime::Expectation::kEmbedding}) {
      const runtime::HeadQuery query{.excluded = 0, .apart = {}, .expectation = expectation};
      const auto summary = transformer_.summarise({&query, 1});
      const auto logits = transformer_.logits(0, 1);
      const auto best = std::max_element(logits.begin() + 1, logits.end());
      require(summary[0].all.best == *best, ExitCode::kSomeFailed, "the head's best logit is {}, expected {}", summary[0].all.best, *best);
    }
  }

  const Options& options_;
  const runtime::ModelConfig& config_;
  const runtime::ModelWeights& weights_;
  experts::Compute compute_;
  cluster::Placement placement_;
  std::unique_ptr<comm::Exchange> exchange_;
  runtime::HostTransformer transformer_;
  runtime::ModelConfig bare_config_;  ///< no layers: a pass looks the embeddings up, and norms the row that is wanted
  runtime::HostTransformer bare_;
  std::vector<Record> records_;
};

void run(const Options& options) {
  auto config = bench_config(options.config);
  config.num_layers = options.num_layers;
  ThreadTeam team(options.num_threads);
  const auto& kernels = experts::choose_kernel_family("auto", experts::Precision::kBfloat16);
  const auto placement = cluster::Placement::even(config.num_experts, 1);
  const auto weights = synthetic_model(config, placement, Rank(0), {.layout = experts::layout_of(kernels)}, team);
  comm::threads::ThreadWorld world(1);
  world.run([&](comm::Communicator& comm) {
    const auto records = Bench(options, config, weights, comm, {&kernels, &team, experts::Precision::kBfloat16}).run();
    const RunFacts facts{.commit = "", .cpu = "", .ranks = 1, .threads = options.num_threads, .kernel = std::string(kernels.name)};
    std::fputs(format_records(records, facts, RecordFormat::kMarkdown).c_str(), stdout);
  });
}

}  // namespace
}  // namespace unmask::bench

int main(int argc, char** argv) {
  unmask::bench::Options options;
  CLI::App app("What rows cost that nobody asks for, and what smoothing adds.", "needless_rows");
  app.add_option("--config", options.config, "a known model, or a config.json")->capture_default_str();
  app.add_option("--layers", options.num_layers, "layers, instead of the config's")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--rows", options.most_rows, "most rows of a pass")->check(CLI::Range(1, 8192))->capture_default_str();
  app.add_option("--repeat", options.repeat, "measurements of each case")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--threads", options.num_threads, "threads")->check(CLI::Range(1, 4096))->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(unmask::ExitCode::kUsage);
  }
  try {
    unmask::bench::run(options);
    return 0;
  } catch (const unmask::Error& e) {
    std::fprintf(stderr, "needless_rows: %s\n", e.what());
    return static_cast<int>(e.code());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "needless_rows: %s\n", e.what());
    return static_cast<int>(unmask::ExitCode::kBadInput);
  }
}
