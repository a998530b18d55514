// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/aligned_buffer.h"
#include "base/bfloat16.h"
#include "experts/kernels.h"

namespace unmask::runtime {

/// Keys and values of some heads (of all layers, where a sequence keeps them), for so many positions.
struct KvShape {
  experts::Precision precision = experts::Precision::kFloat32;
  std::int64_t num_heads = 0, length = 0, head_dim = 0;
};

/// Memory for them on whatever device attention runs: KeyValues, or a GPU's.
class KvMemory {
 public:
  virtual ~KvMemory() = default;
};
/// Null where there is no memory left.
using MakeKvMemory = std::function<std::unique_ptr<KvMemory>(const KvShape&)>;
std::unique_ptr<KvMemory> make_host_kv_memory(const KvShape& shape);

/// Keys (after RoPE) and values of some heads. In bf16 they are stored as bfloat16: they were rounded to it anyway.
///
///   keys   [heads, length, head_dim]   what a head reads lies side by side
///   values likewise
class KeyValues final : public KvMemory {
 public:
  KeyValues() = default;
  explicit KeyValues(const KvShape& shape) { reshape(shape); }
  /// What was held is lost; the memory never shrinks.
  void reshape(const KvShape& shape);

  /// A head's keys or values from a position on: one of the two is null.
  struct Place {
    float* wide;
    bfloat16* narrow;
  };
  Place keys(std::int64_t head, std::int64_t position) { return place(key_at(head, position)); }
  Place values(std::int64_t head, std::int64_t position) { return place(value_at(head, position)); }

  /// Lets attention read `length` positions of a head from `begin` on.
  void attach(std::int64_t head, std::int64_t begin, std::int64_t length, experts::AttentionProblem& problem) const;

 private:
  std::int64_t key_at(std::int64_t head, std::int64_t position) const { return (head * shape_.length + position) * shape_.head_dim; }
  std::int64_t value_at(std::int64_t head, std::int64_t position) const { return key_at(shape_.num_heads + head, position); }
  Place place(std::int64_t at) {
    return {is_narrow() ? nullptr : wide_.data() + at, is_narrow() ? narrow_.data() + at : nullptr};
  }
  bool is_narrow() const { return shape_.precision == experts::Precision::kBfloat16; }

  KvShape shape_;
  AlignedBuffer<float> wide_;
  AlignedBuffer<bfloat16> narrow_;  ///< one of the two is empty
};

}  // namespace unmask::runtime
