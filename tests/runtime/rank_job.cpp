// SPDX-License-Identifier: Apache-2.0
#include "rank_job.h"

#include <algorithm>
#include <mutex>

namespace unmask::testing_data {

void with_network(const std::filesystem::path& folder, const JobOptions& options, JobResult& result,
                  const std::function<void(RankParts&)>& body) {
  const runtime::Checkpoint checkpoint(folder);
  const auto& config = checkpoint.config();
  const auto placement = options.owner ? cluster::Placement(*options.owner, options.num_ranks)
                                       : cluster::Placement::even(config.num_experts, options.num_ranks);
  result.bytes_read.resize(size(options.num_ranks));
  std::mutex mutex;
  comm::threads::ThreadWorld world(options.num_ranks);
  world.run([&](comm::Communicator& comm) {
    ThreadTeam team(options.num_threads);
    const auto& kernels = experts::choose_kernel_family(options.kernel, options.precision);
    const auto loaded = checkpoint.load(placement, comm.rank(), team, {.layout = experts::layout_of(kernels)});
    const bool bf16 = options.precision == experts::Precision::kBfloat16;
    const auto exchange = comm::make_exchange(
        comm, placement, team, {.hidden = config.hidden, .wire = bf16 ? comm::WireType::kBfloat16 : comm::WireType::kFloat32});
    runtime::Transformer transformer(config, loaded.weights, *exchange,
                                     {&kernels, &team, options.precision});
    RankParts parts{comm, transformer, config};
    body(parts);
    const std::lock_guard lock(mutex);
    result.bytes_read[comm.rank().at()] = loaded.bytes_read;
    result.wire_bytes += exchange->statistics().wire_bytes;
  });
}

JobResult run_job(const std::filesystem::path& folder, const JobOptions& options, const std::vector<runtime::Request>& requests) {
  JobResult result;
  std::mutex mutex;
  with_network(folder, options, result, [&](RankParts& parts) {
    runtime::Engine engine(parts.transformer,
                           {.max_rows = options.max_rows,
                            .kv_memory_bytes = options.kv_memory_bytes,
                            .eos_tokens = parts.config.eos_tokens,
                            .mask_token = parts.config.mask_token.value(),
                            .keep_trace = true,
                            .stops_at_text = {}},
                           {.on_draft = {}, .on_answer = [&](const runtime::Request& request, runtime::Answer answer) {
                              const std::lock_guard lock(mutex);
                              result.answers.emplace(request.number, std::move(answer));
                            }});
    for (std::size_t i = parts.comm.rank().at(); i < requests.size(); i += size(options.num_ranks)) {
      engine.submit(requests[i]);
    }
    while (engine.run_step()) {
    }
    const std::lock_guard lock(mutex);
    result.kv_bytes += engine.statistics().kv_bytes;
    result.kv_peak_bytes = std::max(result.kv_peak_bytes, engine.statistics().kv_peak_bytes);
  });
  return result;
}

}  // namespace unmask::testing_data
