// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "experts/quantised.h"
#include "launcher/commands/commands.h"
#include "launcher/run/load_progress.h"
#include "launcher/run/network.h"
#include "runtime/output_file.h"
#include "runtime/packed_writer.h"

namespace unmask::launcher {
namespace {

void pack(const Job& job, int num_threads) {
  const OptionValues& options = job.options();
  const std::filesystem::path output = options.text("output");
  runtime::OutputFile::require_place(output);
  const runtime::Checkpoint checkpoint(std::filesystem::path(options.text("model")));
  ThreadTeam team(num_threads);
  LoadProgressLine progress(job.log, "packing");
  const Stopwatch watch;
  const auto type = expert_type_of(options).value_or(experts::WeightType::kBf16);
  const std::uint64_t bytes = runtime::write_packed(checkpoint, team, {.expert_type = type, .output = output, .progress = [&](const runtime::LoadProgress& now) {
                                                      job.comm.works();
                                                      progress.show(now);
                                                    }});
  progress.close();
  job.log.info("{} holds {:.2f} GB, experts in {}, written in {:.1f} s", output.string(), 1e-9 * static_cast<double>(bytes), experts::name_of(type),
               watch.seconds());
}

}  // namespace

ExitCode run_pack(const Job& job) {
  const int num_threads = agree_on_threads(job);
  agreed(job.comm, [&] {
    if (job.comm.is_root()) {
      pack(job, num_threads);
    }
  });
  return ExitCode::kDone;
}

}  // namespace unmask::launcher
