// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "experts/linear.h"
#include "runtime/key_values.h"
#include "runtime/model_config.h"
#include "runtime/rope.h"
#include "runtime/stage_times.h"
#include "runtime/step_batch.h"
#include "runtime/weights.h"

namespace unmask::runtime {

/// Bidirectional multi-head attention of a step's sequences, each over its own positions: norm, QKV, QK norm, RoPE, softmax,
/// output projection. Query heads share key/value heads in equal groups (GQA).
class Attention {
 public:
  explicit Attention(const ModelConfig& config);

  /// Of x [rows, hidden] for the rows that ask (ascending; all of them but in the last layer), up to what the output projection
  /// takes. Keys and values are computed for every row.
  void run(const experts::Compute& compute, const LayerWeights& layer, std::int64_t layer_index, const StepBatch& batch,
           std::span<const TokenRow> queries, const float* x);
  /// residual [queries, hidden] += the output projection of it.
  void add_output(const experts::Compute& compute, const LayerWeights& layer, float* residual);

  void measure(StageTimes* times) { times_ = times; }

 private:
  /// Neighbouring rows of one sequence.
  struct Piece {
    const StepBatch::Sequence* sequence;
    std::int64_t begin, end;  ///< rows of the batch, or places among the queries
  };
  enum class Role { kQuery, kKey, kValue };
  /// Neighbouring heads that a task projects, beginning where a panel of weights does.
  struct Heads {
    Role role;
    const experts::Matrix* weight;
    std::int64_t first, count;
  };
  /// One head of some rows.
  struct Projected {
    Role role;
    std::int64_t head;
    Piece rows;
    const float* x;
    std::int64_t x_stride;
  };
  static std::vector<Piece> cut_rows(const StepBatch& batch, std::int64_t begin, std::int64_t end);
  static std::vector<Piece> cut_queries(const StepBatch& batch, std::span<const TokenRow> queries, std::int64_t most);
  /// Queries that a thread takes with one head: many, since they share what is packed, but enough tasks for all threads.
  std::int64_t queries_per_task(const experts::Compute& compute) const;

  void begin(const experts::Compute& compute, const StepBatch& batch, std::span<const TokenRow> queries);
  /// The queries' rows of x: x itself where every row asks.
  const float* gather(std::span<const TokenRow> queries, const float* x);
  std::vector<Heads> cut_heads(Role role, const experts::Matrix& weight) const;
  void project(const experts::Compute& compute, const LayerWeights& layer, std::int64_t layer_index, const StepBatch& batch,
               const experts::LinearInput& input, const std::vector<Heads>& heads);
  /// Takes a projected head through norm, RoPE and rounding to where attention reads it.
  void finish(const experts::KernelFamily& kernels, const LayerWeights& layer, std::int64_t layer_index, const Projected& p);
  void attend(const experts::Compute& compute, std::int64_t layer_index, const std::vector<Piece>& pieces);

  const ModelConfig& config_;
  Rope rope_;
  StageTimes* times_ = nullptr;
  experts::Precision precision_ = experts::Precision::kFloat32;
  std::int64_t num_rows_ = 0, num_queries_ = 0;
  std::vector<std::int64_t> positions_, query_positions_;  ///< [rows], [queries]
  AlignedBuffer<float> asking_;        ///< [queries, hidden]
  experts::LinearInput normed_, normed_asking_, mixed_input_;
  AlignedBuffer<float> q_;             ///< [heads, queries, head_dim]
  KeyValues own_;                      ///< of the batch's rows; those of a sequence with a store are there instead
  AlignedBuffer<float> mixed_;         ///< [queries, heads * head_dim]
  experts::PieceBuffers buffers_;
  std::vector<AlignedBuffer<std::byte>> workspaces_;  ///< of each thread
};

}  // namespace unmask::runtime
