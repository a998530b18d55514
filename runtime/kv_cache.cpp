// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_cache.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/checked_math.h"

namespace unmask::runtime {
namespace {

/// Keys of one position in all layers.
std::int64_t values_per_position(const ModelConfig& config) { return config.num_layers * config.num_kv_heads * config.head_dim; }

}  // namespace

KvPool::KvPool(const ModelConfig& config, experts::Precision precision, std::uint64_t budget_bytes, MakeKvMemory make)
    : config_(config), precision_(precision), budget_bytes_(budget_bytes), make_(std::move(make)) {}

std::uint64_t KvPool::bytes_for(std::int64_t length) const {
  const std::uint64_t value_bytes = precision_ == experts::Precision::kBfloat16 ? sizeof(bfloat16) : sizeof(float);
  const auto bytes = checked_mul(static_cast<std::uint64_t>(length),
                                 2 * value_bytes * static_cast<std::uint64_t>(values_per_position(config_)));
  return bytes.value_or(std::numeric_limits<std::uint64_t>::max());
}

std::unique_ptr<KvStore> KvPool::take(std::int64_t length) {
  const std::uint64_t bytes = bytes_for(length);
  if (bytes > budget_bytes_ - used_bytes_) {
    return nullptr;
  }
  std::unique_ptr<KvMemory> memory = make_({.precision = precision_, .num_heads = config_.num_layers * config_.num_kv_heads,
                                            .length = length, .head_dim = config_.head_dim});
  if (memory == nullptr) {
    return nullptr;
  }
  std::unique_ptr<KvStore> store(new KvStore(*this, length, std::move(memory)));
  used_bytes_ += bytes;
  peak_bytes_ = std::max(peak_bytes_, used_bytes_);
  return store;
}

KvStore::KvStore(KvPool& pool, std::int64_t length, std::unique_ptr<KvMemory> memory)
    : pool_(pool), length_(length), memory_(std::move(memory)) {}

KvStore::~KvStore() { pool_.used_bytes_ -= pool_.bytes_for(length_); }

std::int64_t KvStore::head(std::int64_t layer, std::int64_t kv_head) const { return layer * pool_.config_.num_kv_heads + kv_head; }

}  // namespace unmask::runtime
