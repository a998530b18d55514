// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "runtime/key_values.h"
#include "runtime/model_config.h"

namespace unmask::runtime {

class KvPool;

/// Keys and values of one sequence in every layer, for its whole length; of a guided one for its two sides, one behind the other.
/// A pass overwrites the positions it feeds and reads all of its side. Positions may be written by several threads.
class KvStore {
 public:
  ~KvStore();
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
  KvStore(KvPool& pool, std::int64_t length, std::unique_ptr<KvMemory> memory);

  KvPool& pool_;
  std::int64_t length_;
  std::unique_ptr<KvMemory> memory_;  ///< [layers * kv_heads]
};

/// Hands out stores within a budget of bytes; must outlive them. Not thread-safe.
class KvPool {
 public:
  KvPool(const ModelConfig& config, experts::Precision precision, std::uint64_t budget_bytes, MakeKvMemory make = make_host_kv_memory);

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
  MakeKvMemory make_;
  std::uint64_t used_bytes_ = 0;
  std::uint64_t peak_bytes_ = 0;
};

}  // namespace unmask::runtime
