// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>

#include "base/trace.h"
#include "comm/routing_log.h"
#include "launcher/run/job.h"
#include "runtime/model.h"

namespace unmask::launcher {

/// The runtime's model as a job's options want it. All steps are collective and fail together (AgreedError).
class Network {
 public:
  struct Options {
    experts::Precision precision = experts::Precision::kBfloat16;
    std::optional<runtime::ModelConfig> config = {};      ///< instead of --model: a network without a folder, and
    runtime::Model::MakeWeights make_weights = {};        ///< what makes its weights
    std::optional<experts::WeightType> expert_type = {};  ///< instead of what --dtype says
  };
  /// Reads headers only.
  Network(const Job& job, const Options& options);

  /// Loads the weights, if there is memory for them on every host; from then on waits end after --watchdog.
  void load();

  const runtime::ModelConfig& config() const { return model_->config(); }
  const runtime::ModelFiles& files() const { return model_->files(); }
  std::string fingerprint() const { return model_->checkpoint().fingerprint(); }
  std::string fingerprint_of_weights() const { return model_->checkpoint().fingerprint_of_weights(); }
  const experts::KernelFamily& kernels() const { return model_->kernels(); }
  std::string_view device() const { return model_->device(); }
  std::string dtype() const;  ///< of --dtype's words, the one that is true
  experts::WeightType expert_type() const { return model_->expert_type(); }
  const cluster::Placement& placement() const { return model_->placement(); }
  int num_threads() const { return model_->num_threads(); }
  ThreadTeam& team() { return model_->team(); }
  /// After load(), as all below.
  runtime::Transformer& transformer() { return model_->transformer(); }
  std::uint64_t bytes_read() const { return model_->bytes_read(); }
  double load_seconds() const { return model_->load_seconds(); }
  std::uint64_t kv_memory_bytes() const { return model_->kv_memory_bytes(); }

  /// Collective. --trace and --record-routing: what happened so far.
  void write_recordings() const;

 private:
  const Job& job_;
  experts::Precision precision_;
  runtime::Model::MakeWeights make_weights_;
  Trace trace_;
  comm::RoutingLog routing_;
  std::unique_ptr<runtime::Model> model_;
};

/// How --dtype, where somebody gave it, wants experts to be held in memory.
std::optional<experts::WeightType> expert_type_of(const OptionValues& options);

/// --dtype as a precision.
experts::Precision precision_of(const OptionValues& options);

/// --share-weights.
runtime::ModelOptions::Sharing sharing_of(const OptionValues& options);

/// --placement: even, or what a file says.
cluster::Placement read_placement(const std::string& option, std::int64_t num_experts, std::int64_t num_ranks);

/// --exchange, --combine, --overlap and --message-bytes as options of an exchange.
comm::ExchangeOptions exchange_options(const OptionValues& options);

/// --micro-batches.
runtime::MicroBatching::Count micro_batches(const OptionValues& options);

/// Collective. The kernels that --kernel names, or the best family for the precision that every rank has.
const experts::KernelFamily& agree_on_kernels(const Job& job, experts::Precision precision);

/// Collective. --threads, or this rank's share of the cores that it may use.
int agree_on_threads(const Job& job);

/// Collective. runtime::pin_team(), unless --pin says off.
cluster::Pin pin_team(const Job& job, ThreadTeam& team);

}  // namespace unmask::launcher
