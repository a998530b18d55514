// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "cluster/topology.h"
#include "launcher/bench/bench_table.h"
#include "launcher/commands/commands.h"
#include "launcher/run/version.h"

namespace unmask::launcher {

ExitCode run_bench(const Job& job) {
  const std::string name = job.options().text("bench");
  const auto found = std::ranges::find(bench_table(), std::string_view(name), &BenchSpec::name);
  UNMASK_CHECK(found != bench_table().end(), "the option table names a benchmark '{}' that is not there", name);
  job.comm.set_deadline({std::chrono::duration<double>(job.options().real("watchdog"))});
  const BenchResult result = found->run(job);
  if (job.comm.is_root()) {
    const bench::RunFacts facts{.commit = version_line(), .cpu = cluster::read_topology().cpu_model, .ranks = job.comm.num_ranks(),
                                .threads = result.threads, .kernel = result.kernel};
    job.output.write(bench::format_records(result.records, facts, bench::record_format(job.options().text("format"))));
  }
  return ExitCode::kDone;
}

}  // namespace unmask::launcher
