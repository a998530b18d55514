// SPDX-License-Identifier: Apache-2.0
// kernel_limits [--rows LIST] [--repeat N] [--threads N] [shape]: the grouped expert product beside the machine's limits,
// measured in turn by the same threads. First all kernels are compared with plain ones.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <map>
#include <thread>

#include <CLI/CLI.hpp>

#include "base/clock.h"
#include "bench/machine_limits.h"
#include "bench/synthetic_experts.h"
#include "experts/grouped_experts.h"
#include "experts/kernel_check.h"
#include "experts/quantised.h"

namespace unmask::bench {
namespace {

struct Options {
  ExpertShape shape;
  experts::WeightType type = experts::WeightType::kBf16;
  std::vector<std::int64_t> rows = {1, 8, 32, 128, 1024};
  int repeat = 7;
  int num_threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
  return values[values.size() / 2];
}

/// The family against the plainest one, which multiplies the same rounded values in another order.
void check_grouped(const experts::KernelFamily& family, ThreadTeam& team, experts::WeightType type) {
  const ExpertShape shape{.hidden = 112, .width = 80, .num_experts = 6, .top_k = 3};
  const SyntheticWork work(shape, 45);
  const experts::Compute fast{&family, &team, experts::Precision::kBfloat16};
  const experts::Compute plain{experts::kernel_families().back(), &team, experts::Precision::kBfloat16};
  experts::GroupedExperts a, b;
  const auto got = a.run(fast, synthetic_experts(shape, fast, type), shape.hidden, work.work());
  const auto expected = b.run(plain, synthetic_experts(shape, plain, type), shape.hidden, work.work());
  float largest = 0, difference = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    difference = std::max(difference, std::abs(expected[i] - got[i]));
  }
  // Values between the products are rounded to 8 bits; now and then to the other neighbour.
  require(largest > 0 && difference <= 0x1p-8F * largest, ExitCode::kSomeFailed,
          "grouped experts of {}: difference {} of {} from the plain kernels", family.name, difference, largest);
}

void check_all(const experts::KernelFamily& family, ThreadTeam& team, experts::WeightType type) {
  for (const auto& check : check_kernels(family)) {
    require(check.passed(), ExitCode::kSomeFailed, "{}: difference {}, at most {} expected", check.what, check.difference, check.bound);
  }
  check_grouped(family, team, type);
}

std::vector<std::span<const std::byte>> memory_of(const experts::ExpertWeights& weights) {
  std::vector<std::span<const std::byte>> pieces;
  for (const auto& expert : weights) {
    for (const experts::Matrix* m : {&expert.gate, &expert.up, &expert.down}) {
      pieces.emplace_back(reinterpret_cast<const std::byte*>(m->data()), size(m->bytes()));
    }
  }
  return pieces;
}

/// One row count: the product and both limits in turn, `repeat` times.
void measure(const Options& options, const experts::Compute& compute, const experts::ExpertWeights& weights, std::int64_t rows) {
  const ExpertShape& shape = options.shape;
  const SyntheticWork work(shape, rows);
  const auto memory = memory_of(weights);
  const double matrix_bytes = static_cast<double>(experts::stored_bytes(options.type, shape.width, shape.hidden) * work.num_busy());
  const double matrix_flops = 2.0 * static_cast<double>(shape.hidden * shape.width * rows * shape.top_k);
  experts::GroupedExperts grouped;
  std::vector<double> ms, limit_ms, share, gigabytes, teraflops;
  for (int i = 0; i <= options.repeat; ++i) {
    const double bytes_per_second = read_bytes_per_second(*compute.team, memory);
    const double flops = amx_peak_flops(*compute.team);
    const Stopwatch clock;
    grouped.run(compute, weights, shape.hidden, work.work());
    const double seconds = clock.seconds();
    if (i == 0) {
      continue;  // buffers grow
    }
    double limit = 0;
    for (const double matrices : {2.0, 1.0}) {  // gate and up, then down
      limit += matrices * std::max(matrix_bytes / bytes_per_second, matrix_flops / flops);
    }
    ms.push_back(seconds * 1e3);
    limit_ms.push_back(limit * 1e3);
    share.push_back(limit / seconds);
    gigabytes.push_back(bytes_per_second / 1e9);
    teraflops.push_back(flops / 1e12);
  }
  const auto [least, most] = std::minmax_element(share.begin(), share.end());
  std::printf("| %lld | %.1f | %.2f | %.2f | %.2f | %.0f %% | %.0f-%.0f %% |\n", static_cast<long long>(rows), median(gigabytes),
              median(teraflops), median(ms), median(limit_ms), 100 * median(share), 100 * *least, 100 * *most);
  std::fflush(stdout);
}

constexpr int kSkipped = 77;

int run(const Options& options) {
  const auto families = experts::kernel_families();
  const auto amx = std::find_if(families.begin(), families.end(), [](const auto* f) { return f->panels != nullptr && f->supported(); });
  if (amx == families.end()) {
    std::fprintf(stderr, "kernel_limits: no kernels here that multiply panels: nothing to measure\n");
    return kSkipped;
  }
  require(options.shape.top_k <= options.shape.num_experts, ExitCode::kUsage, "--top-k {} of {} experts", options.shape.top_k,
          options.shape.num_experts);
  ThreadTeam team(options.num_threads);
  check_all(**amx, team, options.type);
  const experts::Compute compute{*amx, &team, experts::Precision::kBfloat16};
  const auto weights = synthetic_experts(options.shape, compute, options.type);
  std::printf("%lld experts, hidden %lld, width %lld, top %lld, %d threads, %s, kernels %s; medians of %d\n\n",
              static_cast<long long>(options.shape.num_experts), static_cast<long long>(options.shape.hidden),
              static_cast<long long>(options.shape.width), static_cast<long long>(options.shape.top_k), options.num_threads,
              std::string(experts::name_of(options.type)).c_str(), std::string((*amx)->name).c_str(), options.repeat);
  std::printf("| rows | read GB/s | AMX TFLOP/s | ms | limit ms | share | spread |\n|---|---|---|---|---|---|---|\n");
  for (const std::int64_t rows : options.rows) {
    measure(options, compute, weights, rows);
  }
  return 0;
}

}  // namespace
}  // namespace unmask::bench

int main(int argc, char** argv) {
  unmask::bench::Options options;
  CLI::App app("The grouped expert product of one layer beside the machine's limits.", "kernel_limits");
  const auto positive = [&](const char* name, auto& value, const char* help) {
    app.add_option(name, value, help)->check(CLI::Range(1, 1 << 20))->capture_default_str();
  };
  app.add_option("--rows", options.rows, "rows of the layer, separated by commas")->delimiter(',')->check(CLI::Range(1, 1 << 20));
  const std::map<std::string, unmask::experts::WeightType> types = {{"bf16", unmask::experts::WeightType::kBf16},
                                                                    {"int8", unmask::experts::WeightType::kInt8},
                                                                    {"int4", unmask::experts::WeightType::kInt4}};
  app.add_option("--dtype", options.type, "bf16, int8 or int4: how the weights are stored")->transform(CLI::CheckedTransformer(types));
  positive("--repeat", options.repeat, "measurements of each case");
  positive("--threads", options.num_threads, "threads");
  positive("--hidden", options.shape.hidden, "values of a row");
  positive("--width", options.shape.width, "values inside an expert");
  positive("--experts", options.shape.num_experts, "experts of the layer");
  positive("--top-k", options.shape.top_k, "experts of a row");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(unmask::ExitCode::kUsage);
  }
  try {
    return unmask::bench::run(options);
  } catch (const unmask::Error& e) {
    std::fprintf(stderr, "kernel_limits: %s\n", e.what());
    return static_cast<int>(e.code());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "kernel_limits: %s\n", e.what());
    return static_cast<int>(unmask::ExitCode::kBadInput);
  }
}
