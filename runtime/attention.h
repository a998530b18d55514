// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "experts/linear.h"
#include "runtime/model_config.h"
#include "runtime/rope.h"
#include "runtime/stage_times.h"
#include "runtime/step_batch.h"
#include "runtime/weights.h"

namespace unmask::runtime {

/// Bidirectional multi-head attention of a step's sequences, each over its own positions: QKV, QK norm, RoPE, softmax, output
/// projection. Query heads share key/value heads in equal groups (GQA).
class Attention {
 public:
  explicit Attention(const ModelConfig& config);

  /// x [rows, hidden], normed and rounded -> out [queries, hidden] float32 for the rows that ask (ascending; all of them but in
  /// the last layer). Keys and values are computed for every row.
  void run(const experts::Compute& compute, const LayerWeights& layer, std::int64_t layer_index, const StepBatch& batch,
           std::span<const TokenRow> queries, const float* x, float* out);

  void measure(StageTimes* times) { times_ = times; }

 private:
  /// A few neighbouring rows of one sequence: the unit of work of a thread.
  struct Piece {
    const StepBatch::Sequence* sequence;
    std::int64_t begin, end;  ///< rows of the batch, or places among the queries
  };
  static std::vector<Piece> cut_rows(const StepBatch& batch);
  static std::vector<Piece> cut_queries(const StepBatch& batch, std::span<const TokenRow> queries);
  /// The queries' rows of x: x itself where every row asks.
  const float* gather(std::span<const TokenRow> queries, std::int64_t rows, const float* x);
  /// QK norm, RoPE to `position` and rounding of the heads of one row, in place.
  void prepare_heads(const experts::Compute& compute, const std::vector<float>& norm, std::int64_t heads, std::int64_t position,
                     float* row) const;
  void prepare_keys(const experts::Compute& compute, const LayerWeights& layer, std::int64_t layer_index, const StepBatch& batch);
  void attend(const experts::Compute& compute, std::int64_t layer_index, const std::vector<Piece>& pieces);

  const ModelConfig& config_;
  Rope rope_;
  StageTimes* times_ = nullptr;
  AlignedBuffer<float> asking_;  ///< [queries, hidden]
  AlignedBuffer<float> q_;       ///< [queries, num_heads * head_dim]
  AlignedBuffer<float> k_;       ///< [rows, num_kv_heads * head_dim]
  AlignedBuffer<float> v_;
  AlignedBuffer<float> mixed_;   ///< [queries, num_heads * head_dim]
};

}  // namespace unmask::runtime
