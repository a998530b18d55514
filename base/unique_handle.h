// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

namespace unmask {

/// The one move-only owner of foreign handles (MPI, file descriptors, hwloc, PCRE2). Traits give
///   using Value = ...;  static Value empty();  static void close(Value) noexcept;
template <class Traits>
class UniqueHandle {
 public:
  using Value = typename Traits::Value;

  UniqueHandle() = default;
  explicit UniqueHandle(Value value) : value_(value) {}
  UniqueHandle(UniqueHandle&& other) noexcept : value_(std::exchange(other.value_, Traits::empty())) {}
  UniqueHandle& operator=(UniqueHandle&& other) noexcept {
    if (this != &other) {
      reset();
      value_ = std::exchange(other.value_, Traits::empty());
    }
    return *this;
  }
  ~UniqueHandle() { reset(); }

  Value get() const { return value_; }
  explicit operator bool() const { return value_ != Traits::empty(); }
  void reset() noexcept {
    if (value_ != Traits::empty()) {
      Traits::close(std::exchange(value_, Traits::empty()));
    }
  }

 private:
  Value value_ = Traits::empty();
};

}  // namespace unmask
