// SPDX-License-Identifier: Apache-2.0
#include "rank_job.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>

namespace unmask::testing_data {
namespace {

/// Where a test leaves the choice, UNMASK_TEST_KERNEL may force a family, so that whole suites run with each of them.
const experts::KernelFamily& kernels_for(const JobOptions& options) {
  const char* const forced = std::getenv("UNMASK_TEST_KERNEL");
  if (options.kernel != "auto" || forced == nullptr) {
    return experts::choose_kernel_family(options.kernel, options.precision);
  }
  const auto& family = experts::choose_kernel_family(forced, experts::Precision::kBfloat16);
  return family.serves(options.precision) ? family : experts::choose_kernel_family("auto", options.precision);
}

}  // namespace

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
    const auto& kernels = kernels_for(options);
    const auto layout = options.on_device ? experts::Layout::kRows : experts::layout_of(kernels);
    auto loaded = checkpoint.load(placement, comm.rank(), team, {.layout = layout});
    const bool bf16 = options.precision == experts::Precision::kBfloat16;
    comm::ExchangeOptions how = options.exchange;
    how.hidden = config.hidden;
    how.wire = bf16 ? comm::WireType::kBfloat16 : comm::WireType::kFloat32;
    const experts::Compute compute{&kernels, &team, options.precision};
    std::unique_ptr<comm::Exchange> exchange;
    std::unique_ptr<runtime::Transformer> transformer;
    if (options.on_device) {
      runtime::device_backend()->take_device(comm);
      transformer = runtime::device_backend()->make_transformer(
          {.config = config, .placement = placement, .comm = comm, .compute = compute, .exchange = how, .log = nullptr}, loaded.weights);
    } else {
      exchange = comm::make_exchange(comm, placement, team, how);
      transformer = std::make_unique<runtime::HostTransformer>(config, loaded.weights, *exchange, compute, options.micro_batching);
    }
    RankParts parts{comm, *transformer, config};
    body(parts);
    const std::lock_guard lock(mutex);
    result.bytes_read[comm.rank().at()] = loaded.bytes_read;
    const comm::ExchangeStatistics statistics = transformer->exchange_statistics();
    result.wire_bytes += statistics.wire_bytes;
    result.num_exchanges += statistics.num_layers;
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
