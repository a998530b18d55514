// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <span>
#include <vector>

#include "experts/grouped_experts.h"
#include "experts/router.h"
#include "runtime/attention.h"
#include "runtime/head.h"
#include "runtime/micro_batch.h"
#include "runtime/transformer.h"
#include "runtime/weights.h"

namespace unmask::runtime {

/// The operations of a pass on this rank's processor.
class HostTransformer final : public Transformer {
 public:
  /// Weights and exchange must outlive the transformer; the exchange's wire type must fit compute.precision.
  HostTransformer(const ModelConfig& config, const ModelWeights& weights, comm::Exchange& exchange, const experts::Compute& compute,
                  const MicroBatching& micro_batching = {});

  std::vector<RowSummary> summarise(std::span<const HeadQuery> queries) override { return head_.summarise(wanted_rows_, queries); }
  std::vector<float> logits(std::int64_t begin, std::int64_t end) override;
  std::vector<float> rows() const override { return {wanted_rows_.begin(), wanted_rows_.end()}; }
  std::span<const std::int64_t> router_counts() const override { return router_counts_; }
  comm::ExchangeStatistics exchange_statistics() const override { return exchange_.statistics(); }
  std::string_view exchange_algorithm() const override { return exchange_.algorithm(); }
  std::unique_ptr<KvMemory> make_kv_memory(const KvShape& shape) const override { return make_host_kv_memory(shape); }
  void measure(StageTimes* times) override;

 private:
  void begin(const StepBatch& batch, comm::Vote vote) override;
  void embed() override;
  std::size_t num_parts() const override { return parts_.size(); }
  void combine(std::size_t part) override;
  void attend(std::int64_t layer, std::size_t part, Rows asking) override;
  void dispatch(std::int64_t layer, std::size_t part, Rows asking) override;
  void run_experts(std::int64_t layer, std::size_t part, Rows asking) override;
  void divide() override;
  void norm_wanted() override;
  comm::Vote votes() const override { return census_.votes; }

  MicroBatch make_part(const StepBatch& batch, std::size_t which, const MicroBatch* before);
  void keep_residuals(std::span<const TokenRow> rows, std::int64_t from, std::int64_t to);

  const ModelWeights& weights_;
  comm::Exchange& exchange_;
  Attention attention_;
  experts::Router router_;
  std::array<experts::GroupedExperts, 2> experts_;
  Head head_;
  std::vector<std::int64_t> router_counts_;
  AlignedBuffer<float> residual_;  ///< [rows, hidden], float32 whatever the precision
  AlignedBuffer<float> normed_;    ///< [rows, hidden]
  MicroBatching micro_batching_;

  // Of the pass under way.
  const StepBatch* batch_ = nullptr;
  comm::Vote vote_ = comm::Vote::kIdle;   ///< this rank's
  comm::Census census_;                   ///< of all ranks
  std::optional<BatchCut> cut_;           ///< where it would be divided
  std::array<StepBatch, 2> halves_;
  std::vector<MicroBatch> parts_;         ///< one, or two
  std::span<const float> wanted_rows_;    ///< [wanted, hidden], one row for the two of a guided position
};

}  // namespace unmask::runtime
