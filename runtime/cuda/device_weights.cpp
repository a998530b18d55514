// SPDX-License-Identifier: Apache-2.0
#include "runtime/cuda/device_weights.h"

#include "base/error.h"

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

/// Matrices that lie one behind the other on the device; each is freed on the host once it is there.
class Stack {
 public:
  Stack(Array<bfloat16>& array, std::int64_t values) : array_(array) { array_.grow(values); }
  void add(experts::Matrix& matrix) {
    require(matrix.type() == experts::WeightType::kBf16, ExitCode::kBadInput,
            "this model's experts are quantised, which kernels of a GPU do not take: use --device cpu, or the checkpoint in bf16");
    const std::int64_t values = matrix.rows() * matrix.cols();
    UNMASK_CHECK(used_ + values <= array_.capacity(), "{} + {} of {} values", used_, values, array_.capacity());
    if (values > 0) {
      send(array_.data() + used_, matrix.row(0), values * static_cast<std::int64_t>(sizeof(bfloat16)));
    }
    used_ += values;
    matrix = experts::Matrix();
  }

 private:
  Array<bfloat16>& array_;
  std::int64_t used_ = 0;
};

void upload(Array<bfloat16>& array, experts::Matrix& matrix) { Stack(array, matrix.rows() * matrix.cols()).add(matrix); }

DeviceLayer upload_layer(const ModelConfig& config, LayerWeights& layer) {
  DeviceLayer out;
  out.input_norm = upload(layer.input_norm);
  out.post_attention_norm = upload(layer.post_attention_norm);
  out.q_norm = upload(layer.q_norm);
  out.k_norm = upload(layer.k_norm);
  Stack qkv(out.qkv, (config.num_heads + 2 * config.num_kv_heads) * config.head_dim * config.hidden);
  qkv.add(layer.q_proj);
  qkv.add(layer.k_proj);
  qkv.add(layer.v_proj);
  upload(out.output, layer.o_proj);
  upload(out.router, layer.router);
  const std::int64_t held = std::ssize(layer.experts), matrix = config.expert_width * config.hidden;
  Stack gate_up(out.gate_up, 2 * held * matrix);
  Stack down(out.down, held * matrix);
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
