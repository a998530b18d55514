// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "experts/cuda/device.h"
#include "experts/cuda/kernels.h"
#include "runtime/key_values.h"

namespace unmask::runtime::cuda {

/// Keys and values of a sequence in device memory, as KeyValues has them: keys [heads of all layers, length, head_dim], values
/// behind them.
class DeviceKeyValues final : public KvMemory {
 public:
  /// Throws Error(kBadInput) where the device has no memory left.
  explicit DeviceKeyValues(const KvShape& shape) : shape_(shape), memory_(2 * values() * value_bytes()) {}

  /// What attention reads of a sequence that begins at position `begin` of the store; its rows are for the caller to fill in.
  experts::cuda::DeviceSequence at(std::int64_t begin, std::int64_t length, std::int64_t heads_per_layer) const {
    auto* const keys = const_cast<std::byte*>(memory_.data()) + begin * shape_.head_dim * value_bytes();
    return {.keys = keys, .values = keys + values() * value_bytes(), .layer_stride = heads_per_layer * shape_.length * shape_.head_dim,
            .head_stride = shape_.length * shape_.head_dim, .length = static_cast<std::int32_t>(length), .first_position = 0,
            .row_begin = 0, .row_end = 0};
  }

 private:
  std::int64_t values() const { return shape_.num_heads * shape_.length * shape_.head_dim; }
  std::int64_t value_bytes() const { return shape_.precision == experts::Precision::kFloat32 ? 4 : 2; }

  KvShape shape_;
  experts::cuda::Array<std::byte> memory_;
};

}  // namespace unmask::runtime::cuda
