// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_team.h"
#include "bench/record.h"
#include "launcher/run/job.h"

namespace unmask::launcher {

/// What a benchmark found: its records on rank 0, and what computed them.
struct BenchResult {
  std::vector<bench::Record> records;
  std::int64_t threads = 1;  ///< per rank
  std::string kernel;
};

/// One benchmark of `unmask bench NAME`. Collective: runs on every rank of the job.
struct BenchSpec {
  std::string_view name;
  BenchResult (*run)(const Job& job);
};

/// Every benchmark, in the order of the choices of the option table.
std::span<const BenchSpec> bench_table();

/// A team that measures tells the other ranks and the guard that it goes on.
void show_progress(const Job& job, ThreadTeam& team);

// One file each in launcher/bench/.
BenchResult bench_generate(const Job& job);
BenchResult bench_exchange(const Job& job);
BenchResult bench_limits(const Job& job);
BenchResult bench_gemm(const Job& job);
BenchResult bench_attention(const Job& job);
BenchResult bench_head(const Job& job);
BenchResult bench_forward(const Job& job);
BenchResult bench_moe(const Job& job);
BenchResult bench_quality(const Job& job);

}  // namespace unmask::launcher
