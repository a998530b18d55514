// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>

#include "base/thread_team.h"
#include "cluster/placement.h"
#include "comm/exchange.h"
#include "launcher/run/job.h"
#include "runtime/checkpoint.h"
#include "runtime/transformer.h"

namespace unmask::launcher {

/// A checkpoint on its way to a running network on the ranks of a job. All steps are collective and fail together.
class Network {
 public:
  struct Options {
    experts::Precision precision = experts::Precision::kBfloat16;
  };
  /// Reads headers only: opens the checkpoint, places the experts, agrees on the kernels.
  Network(const Job& job, const Options& options);

  /// Loads the weights, if there is memory for them on every host.
  void load();

  const runtime::ModelConfig& config() const { return checkpoint_->config(); }
  const std::filesystem::path& folder() const { return checkpoint_->folder(); }
  const experts::KernelFamily& kernels() const { return *kernels_; }
  int num_threads() const { return team_->size(); }
  /// After load().
  runtime::Transformer& transformer() { return *transformer_; }
  std::uint64_t bytes_read() const { return loaded_->bytes_read; }
  double load_seconds() const { return load_seconds_; }
  /// Bytes that this rank may use for keys and values: --kv-memory, or its share of half of what the host has left.
  std::uint64_t kv_memory_bytes() const { return kv_memory_bytes_; }

 private:
  void require_memory() const;
  std::uint64_t share_of_free_memory() const;

  const Job& job_;
  experts::Precision precision_;
  std::optional<runtime::Checkpoint> checkpoint_;
  std::optional<cluster::Placement> placement_;
  const experts::KernelFamily* kernels_ = nullptr;
  std::unique_ptr<ThreadTeam> team_;
  std::optional<runtime::LoadResult> loaded_;
  std::unique_ptr<comm::Exchange> exchange_;
  std::unique_ptr<runtime::Transformer> transformer_;
  double load_seconds_ = 0;
  std::uint64_t kv_memory_bytes_ = 0;
};

/// --dtype as a precision.
experts::Precision precision_of(const OptionValues& options);

/// --placement: even, or what a file says.
cluster::Placement read_placement(const std::string& option, std::int64_t num_experts, std::int64_t num_ranks);

/// --combine and --overlap as options of an exchange.
comm::ExchangeOptions exchange_options(const OptionValues& options, std::int64_t hidden, comm::WireType wire);

/// Collective. The kernels that --kernel names, or the best family for the precision that every rank has.
const experts::KernelFamily& agree_on_kernels(const Job& job, experts::Precision precision);

/// Collective. --threads, or this rank's share of the cores that it may use.
int agree_on_threads(const Job& job);

}  // namespace unmask::launcher
