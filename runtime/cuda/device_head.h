// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "comm/nccl/device_links.h"
#include "experts/cuda/dense_products.h"
#include "experts/cuda/device.h"
#include "experts/cuda/kernels.h"
#include "runtime/cuda/device_weights.h"
#include "runtime/head_query.h"

namespace unmask::runtime::cuda {

/// The output projection on a GPU: logits of some rows and a range of the vocabulary at a time, reduced where they are (the same tiles as
/// runtime::Head); only what was found travels to the host.
class DeviceHead {
 public:
  /// All of it must outlive the head.
  DeviceHead(const ModelConfig& config, const DeviceWeights& weights, experts::cuda::DenseProducts& dense, experts::Precision precision)
      : config_(config), weights_(weights), dense_(dense), precision_(precision) {}

  /// How many tokens the products of the head have.
  std::vector<std::int64_t> widths() const;

  /// rows [queries.size() rounded up to their size class, hidden] -> one summary per row. Waits for the stream.
  std::vector<RowSummary> summarise(experts::cuda::Inputs rows, std::span<const HeadQuery> queries, comm::DeviceLinks& links,
                                    cudaStream_t stream);
  /// rows [count, hidden] -> logits [count, vocab]. Waits likewise.
  std::vector<float> logits(experts::cuda::Inputs rows, std::int64_t count, comm::DeviceLinks& links, cudaStream_t stream);

 private:
  struct Piece {
    std::int64_t begin, end;  ///< rows
    bool has_expectation;
  };
  std::vector<Piece> cut(std::span<const HeadQuery> queries) const;
  void send_queries(std::span<const HeadQuery> queries, const std::vector<Piece>& pieces, cudaStream_t stream);
  void reduce(experts::cuda::Inputs rows, const Piece& piece, std::int64_t index, cudaStream_t stream);
  void fetch(std::int64_t num_rows, const std::vector<Piece>& pieces, cudaStream_t stream);
  std::vector<RowSummary> read(std::span<const HeadQuery> queries) const;
  experts::cuda::Inputs from(experts::cuda::Inputs rows, std::int64_t row) const;

  const ModelConfig& config_;
  const DeviceWeights& weights_;
  experts::cuda::DenseProducts& dense_;
  experts::Precision precision_;

  experts::cuda::Array<float> logits_;                          ///< [rows at once, tokens at once]
  experts::cuda::Array<experts::cuda::DeviceSummary> tiles_;
  experts::cuda::Array<experts::cuda::DeviceQuery> queries_;    ///< [rows]
  experts::cuda::Array<std::int32_t> apart_, counts_;           ///< of all rows; rows of each piece
  experts::cuda::Array<experts::cuda::DeviceSummary> summaries_;
  experts::cuda::Array<float> apart_logits_;
  experts::cuda::Array<float> tops_, totals_, sums_;            ///< expected embeddings: [rows], [rows], [rows, hidden]
  experts::cuda::Array<float> mixing_;                          ///< their workspace
  experts::cuda::PinnedArray<experts::cuda::DeviceQuery> host_queries_;
  experts::cuda::PinnedArray<std::int32_t> host_apart_, host_counts_;
  experts::cuda::PinnedArray<experts::cuda::DeviceSummary> host_summaries_;
  experts::cuda::PinnedArray<float> host_apart_logits_, host_totals_, host_sums_;
  std::int64_t num_apart_ = 0;
};

}  // namespace unmask::runtime::cuda
