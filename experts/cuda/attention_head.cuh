// SPDX-License-Identifier: Apache-2.0
// What a block of attention works on: one task (some query rows of a sequence) and one head.
#pragma once

#include "experts/cuda/kernels.h"

namespace unmask::experts::cuda {

inline constexpr int kKeyBlock = 64;  ///< keys that the running softmax takes at a time, counted from position 0

template <class Value>
struct AttentionHead {
  const Value *q, *keys, *values;     ///< of the first row, of position 0
  std::int64_t q_stride;
  Value* out;                         ///< stride q_stride
  int rows, length;
};

/// Block (task, head) of the grid.
template <class Value>
__device__ AttentionHead<Value> my_head(const AttentionProblem& p) {
  const AttentionTask task = p.tasks[blockIdx.x];
  const DeviceSequence& sequence = p.sequences[task.sequence];
  const std::int64_t head = blockIdx.y;
  const std::int64_t stored = p.layer * sequence.layer_stride + head / (p.num_heads / p.num_kv_heads) * sequence.head_stride;
  const std::int64_t q_stride = p.num_heads * p.head_dim;
  const std::int64_t mine = task.begin * q_stride + head * p.head_dim;
  return {static_cast<const Value*>(p.q.data) + mine, static_cast<const Value*>(sequence.keys) + stored,
          static_cast<const Value*>(sequence.values) + stored, q_stride, static_cast<Value*>(p.out.data) + mine,
          task.end - task.begin, sequence.length};
}

void attend_in_float(const AttentionProblem& problem, cudaStream_t stream);

}  // namespace unmask::experts::cuda
