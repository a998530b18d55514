// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/thread_team.h"
#include "bench/record.h"
#include "bench/synthetic_routing.h"
#include "comm/exchange.h"
#include "launcher/run/job.h"

namespace unmask::launcher {

/// One MoE layer without a model around it, as the benchmarks exchange and moe have it on every rank.
class LayerBench {
 public:
  explicit LayerBench(const Job& job);

  const bench::ExpertShape& shape() const { return shape_; }
  const cluster::Placement& placement() const { return placement_; }
  ThreadTeam& team() { return team_; }
  int num_threads() const { return team_.size(); }
  /// --tokens: the cases.
  std::vector<std::int64_t> row_counts() const;
  bench::SyntheticRows make_rows(std::int64_t num_rows) const;

  std::unique_ptr<comm::Exchange> make_exchange(comm::Overlap overlap, Trace* trace = nullptr) const;
  /// rows per rank, shape, skew, combine.
  std::vector<bench::Field> parameters(std::int64_t num_rows) const;

  /// Collective. Runs `part` on all ranks at the same time; milliseconds of the slowest.
  double time_ms(const std::function<void()>& part) const;
  /// Collective. The largest of a value over the ranks; their sum.
  double largest(double mine) const;
  double total(double mine) const;

 private:
  const Job& job_;
  bench::ExpertShape shape_;
  cluster::Placement placement_;
  mutable ThreadTeam team_;
  bench::Skew skew_;
  comm::LinkFacts link_;
};

/// Runs the layer's exchange around compute(work), which returns the slots; adds the rows' sums to the values.
void run_layer(comm::Exchange& exchange, const bench::SyntheticRows& rows, std::span<float> values,
               const std::function<std::span<const float>(const cluster::ExpertWork&)>& compute);

}  // namespace unmask::launcher
