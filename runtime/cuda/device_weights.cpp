// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/device_weights.h"

#include "base/error.h"
#include "experts/quantised.h"

namespace unmask::runtime::cuda {
namespace {

using experts::cuda::Array;
using experts::cuda::check;

void send(void* to, const void* from, std::int64_t bytes) {
  if (bytes > 0) {
    check(cudaMemcpy(to, from, static_cast<std::size_t>(bytes), cudaMemcpyDefault), "cudaMemcpy of weights");
  }
}

Array<float> upload(const std::vector<float>& values) {
  Array<float> array(std::ssize(values));
  send(array.data(), values.data(), std::ssize(values) * static_cast<std::int64_t>(sizeof(float)));
  return array;
}

/// Matrices that lie one behind the other on the device, as they are stored; each is freed on the host once it is there.
template <class T>
class Stack {
 public:
  Stack(Array<T>& array, std::int64_t bytes) : array_(array) { array_.grow(bytes / static_cast<std::int64_t>(sizeof(T))); }
  void add(experts::Matrix& matrix) {
    const std::int64_t bytes = matrix.bytes();
    UNMASK_CHECK(used_ + size(bytes) <= array_.bytes(), "{} + {} of {} bytes", used_, bytes, array_.bytes());
    if (bytes > 0) {
      send(reinterpret_cast<std::byte*>(array_.data()) + used_, stored(matrix), bytes);
    }
    used_ += size(bytes);
    matrix = experts::Matrix();
  }

 private:
  static const void* stored(const experts::Matrix& matrix) {
    return matrix.type() == experts::WeightType::kBf16 ? static_cast<const void*>(matrix.row(0)) : matrix.quantised_panel(0);
  }

  Array<T>& array_;
  std::uint64_t used_ = 0;
};

void upload(Array<bfloat16>& array, experts::Matrix& matrix) { Stack(array, matrix.bytes()).add(matrix); }

/// The type of a layer's experts, which is that of all of them.
experts::WeightType expert_type(const LayerWeights& layer) {
  const experts::WeightType type = layer.experts.empty() ? experts::WeightType::kBf16 : layer.experts.front().gate.type();
  require(type != experts::WeightType::kInt4, ExitCode::kBadInput,
          "this model's experts are in int4, for which there are no kernels of a GPU: use --device cpu, or the checkpoint in bf16 or int8");
  return type;
}

DeviceLayer upload_layer(const ModelConfig& config, LayerWeights& layer) {
  DeviceLayer out;
  out.input_norm = upload(layer.input_norm);
  out.post_attention_norm = upload(layer.post_attention_norm);
  out.q_norm = upload(layer.q_norm);
  out.k_norm = upload(layer.k_norm);
  Stack qkv(out.qkv, (config.num_heads + 2 * config.num_kv_heads) * config.head_dim * config.hidden * static_cast<std::int64_t>(sizeof(bfloat16)));
  qkv.add(layer.q_proj);
  qkv.add(layer.k_proj);
  qkv.add(layer.v_proj);
  upload(out.output, layer.o_proj);
  upload(out.router, layer.router);
  const std::int64_t held = std::ssize(layer.experts);
  out.expert_type = expert_type(layer);
  Stack gate_up(out.gate_up, 2 * held * experts::stored_bytes(out.expert_type, config.expert_width, config.hidden));
  Stack down(out.down, held * experts::stored_bytes(out.expert_type, config.hidden, config.expert_width));
  for (experts::Expert& expert : layer.experts) {
    gate_up.add(expert.gate);
    gate_up.add(expert.up);
    down.add(expert.down);
  }
  return out;
}

}  // namespace

std::uint64_t DeviceWeights::bytes() const {
  std::uint64_t sum = embedding.bytes() + head.bytes() + final_norm.bytes();
  for (const DeviceLayer& layer : layers) {
    sum += layer.input_norm.bytes() + layer.post_attention_norm.bytes() + layer.q_norm.bytes() + layer.k_norm.bytes() + layer.qkv.bytes() +
           layer.output.bytes() + layer.router.bytes() + layer.gate_up.bytes() + layer.down.bytes();
  }
  return sum;
}

DeviceWeights upload_weights(const ModelConfig& config, ModelWeights& weights) {
  DeviceWeights out;
  upload(out.embedding, weights.embedding);
  for (LayerWeights& layer : weights.layers) {
    out.layers.push_back(upload_layer(config, layer));
  }
  out.final_norm = upload(weights.final_norm);
  upload(out.head, weights.head);
  return out;
}

}  // namespace unmask::runtime::cuda
