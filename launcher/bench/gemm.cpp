// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>

#include "bench/plain_check.h"
#include "bench/synthetic_experts.h"
#include "experts/grouped_experts.h"
#include "experts/quantised.h"
#include "launcher/bench/bench_case.h"
#include "launcher/bench/bench_table.h"
#include "launcher/run/network.h"

namespace unmask::launcher {
namespace {

/// The experts of one layer that this rank holds, and what rows they get.
class Gemm {
 public:
  Gemm(const Job& job, const BenchPlan& plan, const experts::Compute& compute)
      : job_(job),
        plan_(plan),
        compute_(compute),
        type_(expert_type_of(job.options()).value_or(experts::WeightType::kBf16)),
        placement_(read_placement(job.options().text("placement"), plan.config.num_experts, job.comm.num_ranks())),
        held_(placement_.held_by(job.comm.rank())) {
    shape_ = {.hidden = plan.config.hidden, .width = plan.config.expert_width, .num_experts = std::ssize(held_), .top_k = 1};
    weights_ = bench::synthetic_experts(shape_, compute, type_);
    shape_.num_experts = plan.config.num_experts;
    shape_.top_k = plan.config.experts_per_token;
  }

  bench::Record measure(std::int64_t tokens) {
    const std::int64_t rows = tokens * job_.comm.num_ranks();  // of all ranks, spread evenly over the experts
    const bench::SyntheticWork work(shape_, rows, held_);
    BenchCase one{.bench = "gemm", .parameters = case_parameters(plan_, tokens), .tokens = tokens, .memory = {}};
    one.parameters.push_back({"rows_per_expert", static_cast<double>(rows * shape_.top_k) / static_cast<double>(shape_.num_experts)});
    for (const experts::Expert& expert : weights_) {
      for (const experts::Matrix* m : {&expert.gate, &expert.up, &expert.down}) {
        one.memory.push_back(memory_of(*m));
      }
    }
    one.run = [&] { grouped_.run(compute_, weights_, shape_.hidden, work.work()); };
    one.needs = [&] {
      const auto bytes = [&](std::int64_t outputs, std::int64_t inputs) {
        return static_cast<double>(experts::stored_bytes(type_, outputs, inputs) * work.num_busy());
      };
      const double flops = 2.0 * static_cast<double>(shape_.hidden * shape_.width) * static_cast<double>(work.work().assignments.size());
      return std::vector<Need>{{"gate and up", 2 * bytes(shape_.width, shape_.hidden), 2 * flops}, {"down", bytes(shape_.hidden, shape_.width), flops}};
    };
    one.experts_touched = {work.num_busy()};
    return measure_case(job_, plan_, compute_, one);
  }

 private:
  const Job& job_;
  const BenchPlan& plan_;
  const experts::Compute& compute_;
  experts::WeightType type_;
  cluster::Placement placement_;
  std::span<const ExpertId> held_;
  bench::ExpertShape shape_;
  experts::ExpertWeights weights_;
  experts::GroupedExperts grouped_;
};

}  // namespace

BenchResult bench_gemm(const Job& job) {
  const BenchPlan plan = read_bench_plan(job);
  const auto precision = precision_of(job.options());
  const experts::KernelFamily& kernels = agree_on_kernels(job, precision);
  ThreadTeam team(agree_on_threads(job));
  show_progress(job, team);
  const cluster::Pin pin = pin_team(job, team);
  const experts::Compute compute{&kernels, &team, precision};
  std::unique_ptr<Gemm> gemm;
  agreed(job.comm, [&] {
    bench::check_experts(kernels, {precision, expert_type_of(job.options()).value_or(experts::WeightType::kBf16)}, team.size());
    gemm = std::make_unique<Gemm>(job, plan, compute);
  });
  BenchResult result{.records = {}, .threads = team.size(), .kernel = std::string(kernels.name)};
  for (const std::int64_t tokens : plan.tokens) {
    result.records.push_back(gemm->measure(tokens));
  }
  return result;
}

}  // namespace unmask::launcher
