// SPDX-License-Identifier: Apache-2.0
#include "bench/plain_check.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <future>

#include "base/random.h"
#include "bench/synthetic_experts.h"
#include "bench/synthetic_model.h"
#include "cluster/pinning.h"
#include "comm/threads/thread_world.h"
#include "experts/grouped_experts.h"
#include "experts/kernel_check.h"
#include "runtime/kv_cache.h"
#include "runtime/model.h"

namespace unmask::bench {
namespace {

runtime::ModelConfig small_config() {
  runtime::ModelConfig config;
  config.num_layers = 2;
  config.hidden = 144;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 36;
  config.num_experts = 12;
  config.experts_per_token = 3;
  config.expert_width = 80;
  config.vocab_size = 700;
  config.max_positions = 512;
  return config;
}

/// A row's state behind the last layer, and what the head says of it.
struct Answer {
  std::vector<float> rows;
  std::vector<float> tops;
};

Answer run_network(std::string_view kernel, Arithmetic arithmetic, int num_threads, std::string_view device) {
  constexpr std::int64_t kLength = 150, kWindow = 37;
  const runtime::ModelConfig config = small_config();
  comm::threads::ThreadWorld world(1);
  const auto comm = world.communicator(Rank(0));
  runtime::ModelOptions options;
  options.precision = arithmetic.precision;
  options.expert_type = arithmetic.type;
  options.device = std::string(device);
  options.kernel = std::string(kernel);
  options.num_threads = num_threads;
  runtime::Model model(*comm, config, options);
  model.make_weights(synthetic_model);
  runtime::KvPool pool(config, arithmetic.precision, std::uint64_t{1} << 30,
                       [&](const runtime::KvShape& shape) { return model.transformer().make_kv_memory(shape); });
  const auto store = pool.take(kLength);
  Answer answer;
  for (const std::int64_t first : {std::int64_t{0}, kLength - kWindow}) {  // all positions, then some of them over what is stored
    std::vector<TokenId> tokens;
    for (std::int64_t i = first; i < kLength; ++i) {
      tokens.push_back(static_cast<TokenId>(philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {3, 3})[0] % 700));
    }
    runtime::StepBatch batch;
    batch.add(tokens, {.first_position = first, .store = store.get(), .length = kLength});
    for (std::int64_t i = 0; i < std::ssize(tokens); i += 5) {
      batch.wanted.emplace_back(i);
    }
    model.transformer().forward(batch, comm::Vote::kWork);
    const auto rows = model.transformer().rows();
    answer.rows.insert(answer.rows.end(), rows.begin(), rows.end());
    const std::vector<runtime::HeadQuery> queries(batch.wanted.size());
    for (const auto& summary : model.transformer().summarise(queries)) {
      answer.tops.push_back(summary.all.top);
    }
  }
  return answer;
}

double rms(std::span<const float> values) {
  double squares = 0;
  for (const float value : values) {
    squares += double{value} * double{value};
  }
  return std::sqrt(squares / static_cast<double>(std::max<std::size_t>(1, values.size())));
}

void compare(std::string_view what, std::string_view family, std::span<const float> got, std::span<const float> expected, double bound) {
  std::vector<float> difference;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference.push_back(got[i] - expected[i]);
  }
  const double relative = rms(difference) / rms(expected);
  require(got.size() == expected.size() && relative <= bound, ExitCode::kSomeFailed,
          "{} of kernels {}: relative difference {} from the plain kernels, at most {} expected", what, family, relative, bound);
}

/// On a thread that may run wherever the process may: the caller may be pinned to a core, on which a team of its making would begin.
void run_unpinned(const std::function<void()>& part) {
  auto done = std::async(std::launch::async, [&] {
    cluster::leave_pins();
    part();
  });
  done.get();
}

void compare_grouped_experts(const experts::KernelFamily& family, Arithmetic arithmetic, int num_threads) {
  const auto [precision, type] = arithmetic;
  ThreadTeam team(num_threads);
  const ExpertShape shape{.hidden = 112, .width = 80, .num_experts = 6, .top_k = 3};
  const SyntheticWork work(shape, 150);
  const experts::Compute fast{&family, &team, precision};
  const experts::Compute plain{experts::kernel_families().back(), &team, precision};
  experts::GroupedExperts a, b;
  const auto got = a.run(fast, synthetic_experts(shape, fast, type), shape.hidden, work.work());
  const auto expected = b.run(plain, synthetic_experts(shape, plain, type), shape.hidden, work.work());
  // Values between the products are rounded to 8 bits, now and then to the other neighbour.
  compare(format("grouped experts in {}", experts::name_of(type)), family.name, got, expected, precision == experts::Precision::kBfloat16 ? 0x1p-8 : 0x1p-18);
}

}  // namespace

void check_experts(const experts::KernelFamily& family, Arithmetic arithmetic, int num_threads) {
  for (const auto& check : experts::check_kernels(family)) {
    require(check.passed(), ExitCode::kSomeFailed, "kernels {}, {}: difference {}, at most {} expected", family.name, check.what,
            check.difference, check.bound);
  }
  check_grouped_experts(family, arithmetic, num_threads);
}

void check_grouped_experts(const experts::KernelFamily& family, Arithmetic arithmetic, int num_threads) {
  run_unpinned([&] { compare_grouped_experts(family, arithmetic, num_threads); });
}

void check_network(const experts::KernelFamily& family, Arithmetic arithmetic, int num_threads, std::string_view device) {
  Answer got, expected;
  run_unpinned([&] {
    got = run_network(family.name, arithmetic, num_threads, device);
    expected = run_network(experts::kernel_families().back()->name, arithmetic, num_threads, "cpu");
  });
  // Each of two layers rounds some eight times to 8 bits; a router's near tie may fall the other way in a row or two.
  const double bound = arithmetic.precision == experts::Precision::kBfloat16 ? 16 * 0x1p-8 : 0x1p-14;
  const std::string_view what = device == "cpu" ? family.name : device;
  compare("a small network", what, got.rows, expected.rows, bound);
  compare("the head", what, got.tops, expected.tops, bound);
}

}  // namespace unmask::bench
