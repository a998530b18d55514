// SPDX-License-Identifier: Apache-2.0
#include "runtime/key_values.h"

#include <new>

namespace unmask::runtime {

std::unique_ptr<KvMemory> make_host_kv_memory(const KvShape& shape) {
  try {
    return std::make_unique<KeyValues>(shape);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void KeyValues::reshape(const KvShape& shape) {
  shape_ = shape;
  const std::int64_t count = 2 * shape.num_heads * shape.length * shape.head_dim;
  if (is_narrow()) {
    narrow_.grow(count);
  } else {
    wide_.grow(count);
  }
}

void KeyValues::attach(std::int64_t head, std::int64_t begin, std::int64_t length, experts::AttentionProblem& problem) const {
  problem.kv_stride = shape_.head_dim;
  problem.num_keys = length;
  problem.k = is_narrow() ? nullptr : wide_.data() + key_at(head, begin);
  problem.v = is_narrow() ? nullptr : wide_.data() + value_at(head, begin);
  problem.k16 = is_narrow() ? narrow_.data() + key_at(head, begin) : nullptr;
  problem.v16 = is_narrow() ? narrow_.data() + value_at(head, begin) : nullptr;
}

}  // namespace unmask::runtime
