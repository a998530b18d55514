// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

#include "base/types.h"

namespace unmask {

/// At least 64 bytes aligned; a megabyte and more in huge pages, where the system has them. For std::free(). Throws
/// std::bad_alloc.
void* aligned_memory(std::size_t bytes);

/// Uninitialised memory for `count` plain values, aligned to 64 bytes (a cache line, a vector register). Move-only.
template <class T>
  requires(std::is_trivially_copyable_v<T>)
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  /// Throws std::bad_alloc when there is no memory.
  explicit AlignedBuffer(std::int64_t count) : count_(count) {
    UNMASK_CHECK(count >= 0 && count <= std::numeric_limits<std::int64_t>::max() / 64, "count = {}", count);
    if (count > 0) {
      data_.reset(static_cast<T*>(aligned_memory(size(count) * sizeof(T))));
    }
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::int64_t count() const { return count_; }
  std::span<T> span() { return {data_.get(), size(count_)}; }
  std::span<const T> span() const { return {data_.get(), size(count_)}; }

  /// Makes room for `count` values; what was held is lost when the buffer grows, and it never shrinks.
  void grow(std::int64_t count) {
    if (count > count_) {
      *this = AlignedBuffer(count);
    }
  }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
  std::int64_t count_ = 0;
};

}  // namespace unmask
