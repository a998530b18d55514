// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/thread_team.h"
#include "cluster/pinning.h"
#include "cluster/placement.h"
#include "comm/communicator.h"
#include "comm/exchange.h"
#include "comm/handshake.h"
#include "runtime/checkpoint.h"
#include "runtime/device_backend.h"
#include "runtime/micro_batch.h"
#include "runtime/transformer.h"
#include "runtime/weight_targets.h"

namespace unmask::runtime {

/// How a model runs; the same on every rank but for num_threads.
struct ModelOptions {
  experts::Precision precision = experts::Precision::kBfloat16;
  std::optional<experts::WeightType> expert_type = {};  ///< how experts are held; else as the checkpoint stores them
  std::string device = "cpu";                           ///< "auto": a GPU where its backend is proven (device_backend.h); or its name
  std::string device_kernel = "auto";                   ///< what multiplies experts on a device; see --device-kernel
  std::string kernel = "auto";                          ///< a family's name, or the best for the precision that every rank has
  std::optional<int> num_threads = {};                  ///< else this rank's share of the cores that it may use
  std::optional<std::uint64_t> kv_memory_bytes = {};    ///< else this rank's share of half of what is free after loading
  /// Experts over ranks, from (experts, ranks); evenly unless given.
  std::function<cluster::Placement(std::int64_t, std::int64_t)> place = cluster::Placement::even;
  enum class Pinning { kAuto, kOff } pinning = Pinning::kAuto;  ///< of threads to cores
  enum class Sharing { kAuto, kOff } sharing = Sharing::kAuto;  ///< of one copy of embedding, attention, routers and head on a host
  comm::ExchangeOptions exchange = {};                  ///< hidden and wire come from the model
  MicroBatching::Count micro_batches = MicroBatching::Count::kAuto;
  std::vector<comm::Fact> facts = {};                   ///< what else the ranks must have in common, beside the checkpoint
  const Logger* log = nullptr;                          ///< may be null; outlives the model
};

/// A checkpoint on its way to a running network on the ranks of a communicator, which must outlive it. Constructor and load()
/// are collective; where a rank fails, all throw the same Error, which names it. For Engine, see transformer().
class Model {
 public:
  /// Reads headers only: opens the checkpoint, places the experts, agrees on checkpoint, facts and kernels.
  Model(comm::Communicator& comm, const std::filesystem::path& path, ModelOptions options = {});
  /// A network without a checkpoint: its weights come from make_weights().
  Model(comm::Communicator& comm, const ModelConfig& config, ModelOptions options);
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  /// Loads the weights, if there is memory for them on every host.
  void load(std::function<void(const LoadProgress&)> progress = {});
  using MakeWeights =
      std::function<ModelWeights(const ModelConfig&, const cluster::Placement&, Rank, const WeightForms&, ThreadTeam&)>;
  void make_weights(const MakeWeights& make);

  const ModelConfig& config() const { return config_; }
  /// Of a model that was opened, not made.
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  const ModelFiles& files() const { return checkpoint_->files(); }
  const experts::KernelFamily& kernels() const { return *kernels_; }
  /// "cpu", or the device that holds the weights.
  std::string_view device() const { return backend_ == nullptr ? "cpu" : backend_->name(); }
  experts::WeightType expert_type() const;
  int num_threads() const { return team_->size(); }
  ThreadTeam& team() { return *team_; }
  /// After load(), as all below.
  Transformer& transformer() { return *transformer_; }
  std::uint64_t bytes_read() const { return loaded_->bytes_read; }
  std::uint64_t num_rounded() const { return loaded_->num_rounded; }
  double load_seconds() const { return load_seconds_; }
  const cluster::Placement& placement() const { return *placement_; }
  /// In the host's memory: empty where a device holds them.
  const ModelWeights& weights() const { return loaded_->weights; }
  experts::Compute compute() const { return {kernels_, team_.get(), options_.precision}; }
  /// Bytes that this rank may use for keys and values.
  std::uint64_t kv_memory_bytes() const { return kv_memory_bytes_; }

 private:
  void open(const std::function<void()>& read);
  void get_weights(const std::function<LoadResult(const WeightShare&)>& get);
  void require_memory(const WeightShare& share) const;
  /// Cores near the device, if it is another one than the processor.
  std::vector<int> choose_device();
  WeightForms forms() const;
  void make_transformer();
  std::uint64_t share_of_free_memory() const;

  comm::Communicator& comm_;
  ModelOptions options_;
  ModelConfig config_;
  std::optional<Checkpoint> checkpoint_;
  std::optional<cluster::Placement> placement_;
  const experts::KernelFamily* kernels_ = nullptr;
  const DeviceBackend* backend_ = nullptr;  ///< null: the processor
  std::unique_ptr<ThreadTeam> team_;
  cluster::Pin pin_;
  std::optional<LoadResult> loaded_;
  std::unique_ptr<comm::Exchange> exchange_;
  std::unique_ptr<Transformer> transformer_;
  double load_seconds_ = 0;
  std::uint64_t kv_memory_bytes_ = 0;
};

/// Collective. The named kernels, or with "auto" the best family for the precision that every rank has. `log` may be null.
const experts::KernelFamily& agree_on_kernels(comm::Communicator& comm, const std::string& wanted, experts::Precision precision,
                                              const Logger* log);

/// Collective. This rank's share of the cores that it may use. `log` may be null.
int share_of_cores(comm::Communicator& comm, const Logger* log);

/// Collective. Gives each thread of the teams of all ranks a core of its own, where there is one for each (cluster/pinning.h), and
/// logs the map. The result is the caller's own core, for as long as the team is used; other members keep theirs. `log` may be null.
/// `near`: cores that this rank would rather have, those of its binding among them; empty: any.
cluster::Pin pin_team(comm::Communicator& comm, ThreadTeam& team, const Logger* log, std::span<const int> near = {});

}  // namespace unmask::runtime
