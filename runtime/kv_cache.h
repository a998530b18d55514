// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/key_values.h"
#include "runtime/model_config.h"

namespace unmask::runtime {

class KvPool;

/// Bytes of a pool's budget, given back when it goes.
struct GiveBack {
  std::uint64_t bytes = 0;
  void operator()(KvPool* pool) const;
};
using KvShare = std::unique_ptr<KvPool, GiveBack>;

/// Keys and values of one sequence in every layer, for its whole length; of a guided one for its two sides, one behind the other.
/// A pass overwrites the positions it feeds and reads all of its side. Positions may be written by several threads.
class KvStore {
 public:
  KvStore(const KvStore&) = delete;
  KvStore& operator=(const KvStore&) = delete;

  std::int64_t length() const { return length_; }

  KvMemory& memory() { return *memory_; }
  /// The same, in a host's memory: of a store whose pool makes that.
  KeyValues& all() { return static_cast<KeyValues&>(*memory_); }
  /// Which of the heads of memory() it is.
  std::int64_t head(std::int64_t layer, std::int64_t kv_head) const;

 private:
  friend class KvPool;
  KvStore(KvShare share, std::int64_t length, std::unique_ptr<KvMemory> memory);

  KvShare share_;
  std::int64_t length_;
  std::unique_ptr<KvMemory> memory_;  ///< [layers * kv_heads]
};

/// Hands out stores within a budget of bytes; must outlive them. Not thread-safe.
class KvPool {
 public:
  KvPool(const ModelConfig& config, experts::Precision precision, std::uint64_t budget_bytes, MakeKvMemory make = make_host_kv_memory);

  /// What a store for `length` positions takes; a model's lengths cannot overflow it.
  std::uint64_t bytes_for(std::int64_t length) const;

  /// What as many expected embeddings take (smoothing): they lie outside the stores, within the same budget.
  std::uint64_t bytes_for_embeddings(std::int64_t count) const;

  /// A store whose contents are undefined, or null where it does not fit now.
  std::unique_ptr<KvStore> take(std::int64_t length);
  /// Null where it does not fit now.
  KvShare reserve(std::uint64_t bytes);

  std::uint64_t budget_bytes() const { return budget_bytes_; }
  std::uint64_t used_bytes() const { return used_bytes_; }
  std::uint64_t peak_bytes() const { return peak_bytes_; }

 private:
  friend class KvStore;
  friend struct GiveBack;
  const ModelConfig& config_;
  experts::Precision precision_;
  std::uint64_t budget_bytes_;
  MakeKvMemory make_;
  std::uint64_t used_bytes_ = 0;
  std::uint64_t peak_bytes_ = 0;
};

}  // namespace unmask::runtime
