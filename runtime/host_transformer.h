// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "experts/grouped_experts.h"
#include "experts/router.h"
#include "runtime/attention.h"
#include "runtime/head.h"
#include "runtime/transformer.h"
#include "runtime/weights.h"

namespace unmask::runtime {

/// The operations of a pass on this rank's processor.
class HostTransformer final : public Transformer {
 public:
  /// Weights and exchange must outlive the transformer; the exchange's wire type must fit compute.precision.
  HostTransformer(const ModelConfig& config, const ModelWeights& weights, comm::Exchange& exchange, const experts::Compute& compute);

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
  void attend(std::int64_t layer, Rows asking) override;
  bool run_experts(std::int64_t layer, Rows asking) override;
  void norm_wanted() override;
  comm::Vote votes() const override { return votes_; }

  std::span<const TokenRow> rows_of(Rows asking) const { return asking == Rows::kAll ? all_rows_ : batch_->wanted; }
  void keep_residuals(std::span<const TokenRow> rows);

  const ModelWeights& weights_;
  comm::Exchange& exchange_;
  Attention attention_;
  experts::Router router_;
  experts::GroupedExperts experts_;
  Head head_;
  std::vector<std::int64_t> router_counts_;
  AlignedBuffer<float> residual_;  ///< [rows, hidden], float32 whatever the precision
  AlignedBuffer<float> normed_;    ///< [rows, hidden]
  AlignedBuffer<float> update_;    ///< [rows, hidden]: what attention or experts add

  // Of the pass under way.
  const StepBatch* batch_ = nullptr;
  comm::Vote vote_ = comm::Vote::kIdle;   ///< this rank's
  comm::Vote votes_ = comm::Vote::kIdle;  ///< of all ranks
  std::vector<TokenRow> all_rows_;
  std::span<const float> wanted_rows_;    ///< [wanted, hidden], one row for the two of a guided position
};

}  // namespace unmask::runtime
