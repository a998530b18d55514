// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "experts/cuda/device.h"
#include "runtime/model_config.h"
#include "runtime/weights.h"

namespace unmask::runtime::cuda {

/// Weights of one layer in device memory, as the operations take them.
struct DeviceLayer {
  experts::cuda::Array<float> input_norm, post_attention_norm;  ///< [hidden]
  experts::cuda::Array<float> q_norm, k_norm;                   ///< [head_dim], empty without QK norm
  experts::cuda::Array<bfloat16> qkv;      ///< [(num_heads + 2 num_kv_heads) * head_dim, hidden]
  experts::cuda::Array<bfloat16> output;   ///< [hidden, num_heads * head_dim]
  experts::cuda::Array<bfloat16> router;   ///< [num_experts, hidden]
  experts::cuda::Array<std::byte> gate_up; ///< [this rank's experts, 2, width, hidden], as ExpertMatrices says
  experts::cuda::Array<std::byte> down;    ///< [this rank's experts, hidden, width]
  experts::WeightType expert_type = experts::WeightType::kBf16;
};

struct DeviceWeights {
  experts::cuda::Array<bfloat16> embedding, head;  ///< [vocab, hidden]
  experts::cuda::Array<float> final_norm;          ///< [hidden]
  std::vector<DeviceLayer> layers;

  std::uint64_t bytes() const;
};

/// Moves a rank's weights to the device, matrix by matrix; what has arrived is freed on the host. Throws Error(kBadInput) where
/// the device lacks memory, with the numbers, or the experts are in a form that it has no kernels for.
DeviceWeights upload_weights(const ModelConfig& config, ModelWeights& weights);

}  // namespace unmask::runtime::cuda
