// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "comm/nccl/device_links.h"
#include "comm/nccl/step_agreement.h"
#include "experts/cuda/dense_products.h"
#include "runtime/cuda/device_head.h"
#include "runtime/cuda/device_moe.h"
#include "runtime/cuda/device_weights.h"
#include "runtime/cuda/step_graphs.h"
#include "runtime/cuda/step_tables.h"
#include "runtime/device_backend.h"
#include "runtime/transformer.h"

namespace unmask::runtime::cuda {

/// The operations of a pass on a GPU. A pass is queued on one stream, or replayed as a graph, and waited for only when somebody asks
/// what the head says: one small copy goes out in front of it, one comes back behind it.
///
///   host    agree, tables |                         | decoders | agree, tables ...
///   copy                 -> tokens, positions ...                      | <- what the head found
///   stream                  embed, layers, norm | head            |
class DeviceTransformer final : public Transformer {
 public:
  /// The device is the thread's current one, links are those of job.comm. What `job` names must outlive the transformer, but for the
  /// weights, which move to the device.
  DeviceTransformer(const DeviceJob& job, ModelWeights& weights, std::unique_ptr<comm::DeviceLinks> links);
  ~DeviceTransformer() override;

  std::vector<RowSummary> summarise(std::span<const HeadQuery> queries) override;
  std::vector<float> logits(std::int64_t begin, std::int64_t end) override;
  std::vector<float> rows() const override;
  std::span<const std::int64_t> router_counts() const override;
  comm::ExchangeStatistics exchange_statistics() const override;
  std::string_view exchange_algorithm() const override { return links_->name(); }
  std::unique_ptr<KvMemory> make_kv_memory(const KvShape& shape) const override;
  std::optional<std::uint64_t> free_device_bytes() const override;
  std::optional<DeviceTimes> device_times() const override { return graphs_.times(); }

 private:
  using DeviceRows = DeviceMoe::Rows;

  void begin(const StepBatch& batch, comm::Vote vote) override;
  void run(const std::function<void()>& pass) override;
  void embed() override;
  void combine(std::size_t) override {}   // queued with the experts
  void attend(std::int64_t layer, std::size_t part, Rows asking) override;
  void dispatch(std::int64_t, std::size_t, Rows) override {}  // likewise
  void run_experts(std::int64_t layer, std::size_t part, Rows asking) override;
  void norm_wanted() override;
  comm::Vote votes() const override { return step_.votes; }

  void prepare_products();
  void make_room(const comm::StepShape& shape);
  void project_all(const DeviceLayer& layer, std::int64_t index);
  void project_last(const DeviceLayer& layer, std::int64_t index);
  void multiply(experts::cuda::Inputs x, const bfloat16* w, const experts::cuda::Count& rows, std::int64_t n, std::int64_t k,
                experts::cuda::DenseProblem::Store store, float* y);
  void marked(Stage stage);
  void wait() const;
  void require_real_experts() const;
  experts::cuda::Outputs values(experts::cuda::Array<std::byte>& array) const { return {array.data(), precision()}; }
  std::int64_t value_bytes() const { return precision() == experts::Precision::kFloat32 ? 4 : 2; }
  std::int64_t query_width() const { return config_.num_heads * config_.head_dim; }
  std::int64_t key_width() const { return config_.num_kv_heads * config_.head_dim; }
  float* residual(Rows asking) { return asking == Rows::kAll ? residual_.data() : asking_.data(); }

  DeviceJob job_;
  experts::cuda::Stream stream_;
  DeviceWeights weights_;
  std::unique_ptr<comm::DeviceLinks> links_;
  comm::StepAgreement agreement_;
  experts::cuda::DenseProducts dense_;
  DeviceMoe moe_;
  DeviceHead head_;
  StepTables tables_;
  StepGraphs graphs_;

  experts::cuda::Array<float> residual_, asking_;   ///< [rows, hidden], [wanted, hidden]
  experts::cuda::Array<std::byte> normed_;          ///< [rows, hidden]
  experts::cuda::Array<float> projected_;           ///< [rows, queries, keys, values]
  experts::cuda::Array<std::byte> queries_, mixed_; ///< [rows, num_heads * head_dim]
  experts::cuda::Array<std::byte> own_;             ///< keys and values of sequences without a store: [2, kv heads, rows, head_dim]
  experts::cuda::Array<float> final_;               ///< [wanted, hidden]: in front of guidance
  experts::cuda::Array<std::byte> head_rows_;       ///< [wanted, hidden]
  experts::cuda::Array<std::int64_t> counts_;       ///< [layers, experts]
  mutable std::vector<std::int64_t> host_counts_;

  // Of the pass under way.
  const StepBatch* batch_ = nullptr;
  comm::AgreedStep step_;
  comm::StepShape room_;  ///< of all steps so far
};

}  // namespace unmask::runtime::cuda
