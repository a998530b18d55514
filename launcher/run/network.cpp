// SPDX-License-Identifier: Apache-2.0
#include "launcher/run/network.h"

#include <algorithm>
#include <limits>
#include <span>

#include "base/byte_stream.h"
#include "base/clock.h"
#include "cluster/memory.h"
#include "launcher/run/load_progress.h"

namespace unmask::launcher {

Network::Network(const Job& job, const Options& options) : job_(job), precision_(options.precision) {
  const int num_threads = agree_on_threads(job);
  agreed(job.comm, [&] {
    checkpoint_.emplace(job.options().text("model"));
    placement_.emplace(read_placement(job.options().text("placement"), config().num_experts, job.comm.num_ranks()));
    team_ = std::make_unique<ThreadTeam>(num_threads);
  });
  require_same_everywhere(job, checkpoint_->fingerprint());
  kernels_ = &agree_on_kernels(job, precision_);
  if (!config().unknown_keys.empty()) {
    job.log.warning("config.json has keys that mean nothing to this program: {}", fmt::join(config().unknown_keys, ", "));
  }
  if (const auto& unknown = checkpoint_->unknown_tensors(); !unknown.empty()) {
    job.log.warning("the checkpoint has {} tensors beside the network, which are not read: {}", unknown.size(),
                    fmt::join(std::span(unknown).first(std::min<std::size_t>(unknown.size(), 5)), ", "));
  }
  job.log.debug("options: {}", job.options().dump(job.invocation.command));
}

/// What the ranks of each host will hold together, against what the host has.
void Network::require_memory() const {
  const std::uint64_t mine = runtime::weight_bytes(config(), *placement_, job_.comm.rank());
  const auto all = job_.comm.all_gather(ByteWriter().put(job_.comm.host()).put(mine).take());
  std::uint64_t on_host = 0;
  for (const auto& bytes : all) {
    ByteReader reader(bytes);
    if (reader.get_text() == job_.comm.host()) {
      on_host += reader.get<std::uint64_t>();
    }
  }
  agreed(job_.comm, [&] {
    const std::uint64_t available = cluster::available_memory_bytes();
    require(on_host <= available, ExitCode::kBadInput,
            "the weights of this host's {} ranks need {} bytes of memory, {} are available: use more hosts, or free memory",
            job_.comm.num_ranks_on_host(), on_host, available);
  });
}

void Network::load() {
  require_memory();
  const Stopwatch clock;
  agreed(job_.comm, [&] {
    LoadProgressLine progress(job_.log);
    loaded_.emplace(checkpoint_->load(
        *placement_, job_.comm.rank(), *team_,
        {.layout = experts::layout_of(*kernels_), .progress = [&](const runtime::LoadProgress& now) { progress.show(now); }}));
    progress.close();
  });
  job_.comm.set_deadline({std::chrono::duration<double>(job_.options().real("watchdog"))});
  load_seconds_ = clock.seconds();
  if (loaded_->num_rounded > 0) {
    job_.log.info("{} matrices of the checkpoint were rounded to bf16", loaded_->num_rounded);
  }
  const bool is_bf16 = precision_ == experts::Precision::kBfloat16;
  exchange_ = comm::make_exchange(job_.comm, *placement_, *team_,
                                  exchange_options(job_.options(), config().hidden, is_bf16 ? comm::WireType::kBfloat16 : comm::WireType::kFloat32));
  transformer_ = std::make_unique<runtime::Transformer>(config(), loaded_->weights, *exchange_,
                                                        experts::Compute{kernels_, team_.get(), precision_});
  const std::uint64_t share = share_of_free_memory();
  kv_memory_bytes_ = job_.options().given("kv-memory") ? static_cast<std::uint64_t>(job_.options().integer("kv-memory")) : share;
  job_.log.debug("keys and values may take {} bytes", kv_memory_bytes_);
}

/// Collective, so that it is measured when all ranks have loaded; the other half is for the buffers of a step.
std::uint64_t Network::share_of_free_memory() const {
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  for (const auto& bytes : job_.comm.all_gather(ByteWriter().put(job_.comm.host()).put(cluster::available_memory_bytes()).take())) {
    ByteReader reader(bytes);
    const bool same_host = reader.get_text() == job_.comm.host();
    const auto available = reader.get<std::uint64_t>();
    least = same_host ? std::min(least, available) : least;
  }
  return least / 2 / static_cast<std::uint64_t>(job_.comm.num_ranks_on_host());
}

experts::Precision precision_of(const OptionValues& options) {
  return options.text("dtype") == "f32" ? experts::Precision::kFloat32 : experts::Precision::kBfloat16;
}

}  // namespace unmask::launcher
