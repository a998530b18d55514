// SPDX-License-Identifier: Apache-2.0
#include "runtime/kv_cache.h"

#include <algorithm>
#include <limits>
#include <new>

#include "base/checked_math.h"

namespace unmask::runtime {
namespace {

/// Keys of one position in all layers.
std::int64_t values_per_position(const ModelConfig& config) { return config.num_layers * config.num_kv_heads * config.head_dim; }

}  // namespace

KvPool::KvPool(const ModelConfig& config, experts::Precision precision, std::uint64_t budget_bytes)
    : config_(config), precision_(precision), budget_bytes_(budget_bytes) {}

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
  try {
    std::unique_ptr<KvStore> store(new KvStore(*this, length));
    used_bytes_ += bytes;
    peak_bytes_ = std::max(peak_bytes_, used_bytes_);
    return store;
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

KvStore::KvStore(KvPool& pool, std::int64_t length)
    : pool_(pool), length_(length), num_values_(length * values_per_position(pool.config_)) {
  if (pool.precision_ == experts::Precision::kBfloat16) {
    narrow_ = AlignedBuffer<bfloat16>(2 * num_values_);
  } else {
    wide_ = AlignedBuffer<float>(2 * num_values_);
  }
}

KvStore::~KvStore() { pool_.used_bytes_ -= pool_.bytes_for(length_); }

std::int64_t KvStore::place(std::int64_t layer, std::int64_t kv_head, std::int64_t position) const {
  const auto& config = pool_.config_;
  return ((layer * config.num_kv_heads + kv_head) * length_ + position) * config.head_dim;
}

void KvStore::write(std::int64_t layer, std::int64_t position, const float* k, const float* v) {
  const std::int64_t dim = pool_.config_.head_dim;
  for (std::int64_t head = 0; head < pool_.config_.num_kv_heads; ++head, k += dim, v += dim) {
    const std::int64_t at = place(layer, head, position);
    if (narrow_.count() > 0) {
      std::transform(k, k + dim, narrow_.data() + at, to_bfloat16);
      std::transform(v, v + dim, narrow_.data() + num_values_ + at, to_bfloat16);
    } else {
      std::copy(k, k + dim, wide_.data() + at);
      std::copy(v, v + dim, wide_.data() + num_values_ + at);
    }
  }
}

void KvStore::attach(const Part& part, experts::AttentionProblem& problem) const {
  const std::int64_t at = place(part.layer, part.kv_head, part.begin);
  problem.kv_stride = pool_.config_.head_dim;
  problem.num_keys = part.length;
  if (narrow_.count() > 0) {
    problem.k = problem.v = nullptr;
    problem.k16 = narrow_.data() + at;
    problem.v16 = problem.k16 + num_values_;
  } else {
    problem.k = wide_.data() + at;
    problem.v = problem.k + num_values_;
  }
}

}  // namespace unmask::runtime
