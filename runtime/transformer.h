// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <span>

#include "comm/exchange.h"
#include "experts/router.h"
#include "runtime/attention.h"
#include "runtime/head.h"
#include "runtime/micro_batch.h"
#include "runtime/stage_times.h"
#include "runtime/step_batch.h"
#include "runtime/weights.h"

namespace unmask::runtime {

/// The network on one rank (facts of the architecture: arXiv 2509.24389; the order of every step: DESIGN.md section 2).
/// Attention works on this rank's own sequences; experts are wherever the exchange finds them.
class Transformer {
 public:
  /// Weights and exchange must outlive the transformer; the exchange's wire type must fit compute.precision.
  Transformer(const ModelConfig& config, const ModelWeights& weights, comm::Exchange& exchange, experts::Compute compute,
              const MicroBatching& micro_batching = {});

  struct Outcome {
    comm::Vote votes = comm::Vote::kIdle;  ///< of all ranks
    /// [batch.wanted, hidden]: what the head takes, one row for the two of a guided position; valid until the next pass.
    std::span<const float> rows;
  };
  /// One pass. Collective: all ranks call it together, those without work with an empty batch. Where no rank votes for work,
  /// all of them return after the first exchange.
  Outcome forward(const StepBatch& batch, comm::Vote vote);

  Head& head() { return head_; }
  const experts::KernelFamily& kernels() const { return *compute_.kernels; }
  experts::Precision precision() const { return compute_.precision; }
  const ModelConfig& config() const { return config_; }
  /// How many of this rank's rows chose each expert in the last pass: [layers, experts]; in the last layer of the wanted rows.
  std::span<const std::int64_t> router_counts() const { return router_counts_; }
  const comm::Exchange& exchange() const { return exchange_; }

  /// From now on every pass marks its stages; null: no more. `times` must outlive the passes.
  void measure(StageTimes* times) {
    times_ = times;
    attention_.measure(times);
  }

 private:
  void embed(const StepBatch& batch);
  std::span<MicroBatch> as_one(const StepBatch& batch);
  std::span<MicroBatch> as_two(const BatchCut& cut);
  MicroBatch make_part(const StepBatch& batch, std::size_t which, const MicroBatch* before);
  void attention_layer(std::int64_t layer_index, MicroBatch& part);
  void keep_residuals(std::span<const TokenRow> rows, std::int64_t from, std::int64_t to);
  void dispatch(std::int64_t layer_index, MicroBatch& part, const comm::Notice& notice);
  comm::Census run_experts(std::int64_t layer_index, MicroBatch& part);
  void combine(MicroBatch& part);
  std::span<const float> final_rows(const StepBatch& batch);

  const ModelConfig& config_;
  const ModelWeights& weights_;
  comm::Exchange& exchange_;
  experts::Compute compute_;
  Attention attention_;
  experts::Router router_;
  std::array<experts::GroupedExperts, 2> experts_;
  Head head_;
  StageTimes* times_ = nullptr;
  std::vector<std::int64_t> router_counts_;
  MicroBatching micro_batching_;
  std::array<StepBatch, 2> halves_;
  std::vector<MicroBatch> parts_;  ///< one, or two
  AlignedBuffer<float> residual_;  ///< [rows, hidden], float32 whatever the precision
  AlignedBuffer<float> normed_;    ///< [rows, hidden]
};

}  // namespace unmask::runtime
