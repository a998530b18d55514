// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/aligned_buffer.h"
#include "experts/linear.h"
#include "runtime/model_config.h"
#include "runtime/rope.h"
#include "runtime/step_batch.h"
#include "runtime/weights.h"

namespace unmask::runtime {

/// Bidirectional multi-head attention of a step's sequences, each over its own rows: QKV, QK norm, RoPE, softmax, output
/// projection. Query heads share key/value heads in equal groups (GQA).
class Attention {
 public:
  explicit Attention(const ModelConfig& config);

  /// x [rows, hidden], normed and rounded -> out [rows, hidden] float32.
  void run(const experts::Compute& compute, const LayerWeights& layer, const StepBatch& batch, const float* x, float* out);

 private:
  void norm_and_rotate(const experts::Compute& compute, const LayerWeights& layer, const StepBatch& batch);
  void attend(const experts::Compute& compute, const StepBatch& batch);

  const ModelConfig& config_;
  Rope rope_;
  AlignedBuffer<float> q_;     ///< [rows, num_heads * head_dim]
  AlignedBuffer<float> k_;     ///< [rows, num_kv_heads * head_dim]
  AlignedBuffer<float> v_;
  AlignedBuffer<float> mixed_; ///< [rows, num_heads * head_dim]
};

}  // namespace unmask::runtime
