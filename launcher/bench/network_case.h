// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "base/trace.h"
#include "launcher/bench/bench_case.h"
#include "runtime/kv_cache.h"
#include "runtime/model.h"

namespace unmask::launcher {

/// A synthetic network on the ranks of the job, its passes, and what they need. Collective.
class NetworkBench {
 public:
  /// Compares with plain code first. Throws AgreedError.
  NetworkBench(const Job& job, const BenchPlan& plan, const runtime::ModelConfig& config);

  /// Which parts of a pass are measured.
  enum class Part { kForward, kAttention, kHead };
  bench::Record measure(std::string_view name, Part part, std::int64_t tokens);

  int num_threads() const { return model_.num_threads(); }
  /// Collective. --trace: what happened so far.
  void write_recordings() const;
  /// The device, where that is not the processor.
  std::string kernel() const { return std::string(is_on_device() ? model_.device() : model_.kernels().name); }

 private:
  /// One rank's pass: of each sequence a window at the end of what is stored, or all positions.
  struct Pass {
    runtime::StepBatch batch;
    std::vector<std::unique_ptr<runtime::KvStore>> stores;
    std::int64_t num_keys = 0;  ///< of a sequence
  };
  bool is_on_device() const { return model_.device() != "cpu"; }
  Pass make_pass(std::int64_t tokens);
  void add_sequence(Pass& pass, std::int64_t tokens, std::int64_t wanted);
  void run(const Pass& pass, Part part);
  std::vector<Need> needs_of(const Pass& pass, Part part) const;
  void add_attention(const Pass& pass, std::int64_t queries, std::vector<Need>& needs) const;
  void add_experts(std::vector<Need>& needs) const;
  std::vector<std::int64_t> experts_touched();

  const Job& job_;
  const BenchPlan& plan_;
  runtime::ModelConfig config_;
  experts::Precision precision_;
  Trace trace_;
  runtime::Model model_;
  runtime::KvPool pool_;
  runtime::StageTimes times_;
  std::vector<std::int64_t> counts_;  ///< [layers, experts]: rows of all ranks
};

}  // namespace unmask::launcher
