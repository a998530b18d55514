// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/bfloat16.h"
#include "cluster/shared_memory.h"
#include "experts/expert_weights.h"
#include "experts/matrix.h"
#include "runtime/model_config.h"

namespace unmask::runtime {

/// Weights of one layer as this rank holds them: all that is not an expert, and the rank's own experts.
struct LayerWeights {
  std::vector<float> input_norm;           ///< [hidden]
  std::vector<float> post_attention_norm;  ///< [hidden]
  std::vector<float> q_norm, k_norm;       ///< [head_dim], empty without qk_norm
  experts::Matrix q_proj;                  ///< [num_heads * head_dim, hidden]
  experts::Matrix k_proj, v_proj;          ///< [num_kv_heads * head_dim, hidden]
  experts::Matrix o_proj;                  ///< [hidden, num_heads * head_dim]
  experts::Matrix router;                  ///< [num_experts, hidden]
  experts::ExpertWeights experts;          ///< by LocalExpert
};

/// The network's weights on one rank. Matrices are bfloat16 whatever the file holds (F16 and F32 are rounded on loading);
/// norm weights are float32.
struct ModelWeights {
  std::shared_ptr<const cluster::SharedMemory> shared;  ///< with ranks of the same host: of embedding, attention, routers and head
  experts::Matrix embedding;  ///< [vocab, hidden]
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;  ///< [hidden]
  experts::Matrix head;           ///< [vocab, hidden]
};

}  // namespace unmask::runtime
