// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "base/aligned_buffer.h"
#include "base/bfloat16.h"
#include "experts/kernels.h"
#include "runtime/model_config.h"

namespace unmask::runtime {

class KvPool;

/// Keys (after RoPE) and values of one sequence in every layer, for its whole length; of a guided one for its two sides, one
/// behind the other. A pass overwrites the positions it feeds and reads all of its side. In bf16 they are stored as bfloat16: they were rounded to it anyway.
///
///   keys   [layers, kv_heads, length, head_dim]   what a head reads lies side by side
///   values likewise
class KvStore {
 public:
  ~KvStore();
  KvStore(const KvStore&) = delete;
  KvStore& operator=(const KvStore&) = delete;

  std::int64_t length() const { return length_; }

  /// k, v [kv_heads, head_dim], rounded to the precision. Positions may be written by several threads.
  void write(std::int64_t layer, std::int64_t position, const float* k, const float* v);

  /// Which keys and values a head reads.
  struct Part {
    std::int64_t layer, kv_head;
    std::int64_t begin, length;  ///< positions of the store
  };
  void attach(const Part& part, experts::AttentionProblem& problem) const;

 private:
  friend class KvPool;
  KvStore(KvPool& pool, std::int64_t length);
  std::int64_t place(std::int64_t layer, std::int64_t kv_head, std::int64_t position) const;

  KvPool& pool_;
  std::int64_t length_;
  std::int64_t num_values_;  ///< of the keys; as many follow for the values
  AlignedBuffer<float> wide_;
  AlignedBuffer<bfloat16> narrow_;  ///< one of the two is empty
};

/// Hands out stores within a budget of bytes; must outlive them. Not thread-safe.
class KvPool {
 public:
  KvPool(const ModelConfig& config, experts::Precision precision, std::uint64_t budget_bytes);

  /// What a store for `length` positions takes; a model's lengths cannot overflow it.
  std::uint64_t bytes_for(std::int64_t length) const;

  /// A store whose contents are undefined, or null where it does not fit now.
  std::unique_ptr<KvStore> take(std::int64_t length);

  std::uint64_t budget_bytes() const { return budget_bytes_; }
  std::uint64_t used_bytes() const { return used_bytes_; }
  std::uint64_t peak_bytes() const { return peak_bytes_; }

 private:
  friend class KvStore;
  const ModelConfig& config_;
  experts::Precision precision_;
  std::uint64_t budget_bytes_;
  std::uint64_t used_bytes_ = 0;
  std::uint64_t peak_bytes_ = 0;
};

}  // namespace unmask::runtime
