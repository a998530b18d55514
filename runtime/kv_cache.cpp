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

std::uint64_t bytes_of(std::int64_t count, std::uint64_t bytes_each) {
  return checked_mul(static_cast<std::uint64_t>(count), bytes_each).value_or(std::numeric_limits<std::uint64_t>::max());
}

}  // namespace

void GiveBack::operator()(KvPool* pool) const { pool->used_bytes_ -= bytes; }

KvPool::KvPool(const ModelConfig& config, experts::Precision precision, std::uint64_t budget_bytes, MakeKvMemory make)
    : config_(config), precision_(precision), budget_bytes_(budget_bytes), make_(std::move(make)) {}

std::uint64_t KvPool::bytes_for(std::int64_t length) const {
  const std::uint64_t value_bytes = precision_ == experts::Precision::kBfloat16 ? sizeof(bfloat16) : sizeof(float);
  return bytes_of(length, 2 * value_bytes * static_cast<std::uint64_t>(values_per_position(config_)));
}

std::uint64_t KvPool::bytes_for_embeddings(std::int64_t count) const {
  return bytes_of(count, sizeof(float) * static_cast<std::uint64_t>(config_.hidden));
}

KvShare KvPool::reserve(std::uint64_t bytes) {
  if (bytes > budget_bytes_ - used_bytes_) {
    return nullptr;
  }
  used_bytes_ += bytes;
  peak_bytes_ = std::max(peak_bytes_, used_bytes_);
  return KvShare(this, GiveBack{bytes});
}

std::unique_ptr<KvStore> KvPool::take(std::int64_t length) {
  KvShare share = reserve(bytes_for(length));
  if (!share) {
    return nullptr;
  }
  std::unique_ptr<KvMemory> memory = make_({.precision = precision_, .num_heads = config_.num_layers * config_.num_kv_heads,
                                            .length = length, .head_dim = config_.head_dim});
  if (memory == nullptr) {
    return nullptr;
  }
  return std::unique_ptr<KvStore>(new KvStore(std::move(share), length, std::move(memory)));
}

KvStore::KvStore(KvShare share, std::int64_t length, std::unique_ptr<KvMemory> memory)
    : share_(std::move(share)), length_(length), memory_(std::move(memory)) {}

std::int64_t KvStore::head(std::int64_t layer, std::int64_t kv_head) const { return layer * share_->config_.num_kv_heads + kv_head; }

}  // namespace unmask::runtime
