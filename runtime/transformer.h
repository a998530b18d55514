// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "comm/exchange.h"
#include "experts/linear.h"
#include "runtime/device_backend.h"
#include "runtime/head_query.h"
#include "runtime/key_values.h"
#include "runtime/model_config.h"
#include "runtime/stage_times.h"
#include "runtime/step_batch.h"

namespace unmask::runtime {

/// The network on one rank (facts of the architecture: arXiv 2509.24389; the order of every step: DESIGN.md section 2).
/// Attention works on this rank's own sequences; experts are wherever the exchange finds them. The pass is the same on every
/// device; what it is made of is a small set of large operations: HostTransformer (processors), cuda::DeviceTransformer.
class Transformer {
 public:
  /// compute: what runs on this rank's processor, at least the decoders' arithmetic.
  Transformer(const ModelConfig& config, const experts::Compute& compute) : config_(config), compute_(compute) {}
  virtual ~Transformer() = default;
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  /// One pass; what all ranks voted. Collective: all ranks call it together, those without work with an empty batch. Where no
  /// rank votes for work, all of them return after the first exchange.
  comm::Vote forward(const StepBatch& batch, comm::Vote vote);

  /// Of the last pass's wanted rows (one for the two of a guided position), until the next pass: what the head says of each,
  virtual std::vector<RowSummary> summarise(std::span<const HeadQuery> queries) = 0;
  /// all logits of some of them [end - begin, vocab],
  virtual std::vector<float> logits(std::int64_t begin, std::int64_t end) = 0;
  /// and what the head takes [wanted, hidden].
  virtual std::vector<float> rows() const = 0;

  /// How many of this rank's rows chose each expert in the last pass: [layers, experts]; in the last layer of the wanted rows.
  virtual std::span<const std::int64_t> router_counts() const = 0;
  virtual comm::ExchangeStatistics exchange_statistics() const = 0;
  /// How rows of the last layer travelled.
  virtual std::string_view exchange_algorithm() const = 0;
  /// Memory for the keys and values of one sequence, where attention reads them; null where there is none left.
  virtual std::unique_ptr<KvMemory> make_kv_memory(const KvShape& shape) const = 0;
  /// Of the device's memory, where that is not the host's: keys and values must fit into it.
  virtual std::optional<std::uint64_t> free_device_bytes() const { return std::nullopt; }
  virtual std::optional<DeviceTimes> device_times() const { return std::nullopt; }

  const experts::KernelFamily& kernels() const { return *compute_.kernels; }
  experts::Precision precision() const { return compute_.precision; }
  const ModelConfig& config() const { return config_; }

  /// From now on every pass marks its stages; null: no more. `times` must outlive the passes.
  virtual void measure(StageTimes* times) { times_ = times; }

 protected:
  /// Which rows ask, in a layer's attention and experts.
  enum class Rows { kAll, kWanted };

  // The operations of a pass, in the order in which forward() calls them. A pass goes through the layers in one part, or two: micro-
  // batches, where one part's attention and experts hide the other's transfers (micro_batch.h).
  virtual void begin(const StepBatch& batch, comm::Vote vote) = 0;
  /// Calls `pass`, or does what it did the last time.
  virtual void run(const std::function<void()>& pass) { pass(); }
  virtual void embed() = 0;
  virtual std::size_t num_parts() const { return 1; }
  /// Adds what the experts of the layer before say, if there is one.
  virtual void combine(std::size_t part) = 0;
  /// Norm, QKV, QK norm, RoPE, keys and values of all rows; attention and output projection of those that ask, which alone go on.
  virtual void attend(std::int64_t layer, std::size_t part, Rows asking) = 0;
  /// Norm and router; rows leave for their experts.
  virtual void dispatch(std::int64_t layer, std::size_t part, Rows asking) = 0;
  /// Grouped experts; sums leave for their rows.
  virtual void run_experts(std::int64_t layer, std::size_t part, Rows asking) = 0;
  /// Behind the first layer, from what all ranks know by then: whether the others run in two parts.
  virtual void divide() {}
  virtual void norm_wanted() = 0;
  virtual comm::Vote votes() const = 0;

  const ModelConfig& config_;
  experts::Compute compute_;
  StageTimes* times_ = nullptr;
};

}  // namespace unmask::runtime
