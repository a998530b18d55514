// SPDX-License-Identifier: Apache-2.0
// CUDA's handles and memory, owned; and the one checker that every call goes through.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include <cuda_runtime.h>

#include "base/unique_handle.h"

namespace unmask::experts::cuda {

/// Throws Error(kPeerLost for a fault of the device, kBadInput where memory is lacking) naming call, code, device and meaning.
/// After a sticky error nothing on the device works any more: the job ends.
void check(cudaError_t status, std::string_view call);

struct StreamTraits {
  using Value = cudaStream_t;
  static Value empty() { return nullptr; }
  static void close(Value stream) noexcept { static_cast<void>(cudaStreamDestroy(stream)); }
};
using Stream = UniqueHandle<StreamTraits>;
/// One that does not wait for the default stream.
Stream make_stream();

struct EventTraits {
  using Value = cudaEvent_t;
  static Value empty() { return nullptr; }
  static void close(Value event) noexcept { static_cast<void>(cudaEventDestroy(event)); }
};
using Event = UniqueHandle<EventTraits>;
enum class Timing { kOff, kOn };
Event make_event(Timing timing = Timing::kOff);

struct GraphTraits {
  using Value = cudaGraphExec_t;
  static Value empty() { return nullptr; }
  static void close(Value graph) noexcept { static_cast<void>(cudaGraphExecDestroy(graph)); }
};
using GraphExec = UniqueHandle<GraphTraits>;

/// Bytes of device memory, and of page-locked host memory.
void* allocate_device(std::uint64_t bytes);
void* allocate_pinned(std::uint64_t bytes);
void free_device(void* memory) noexcept;
void free_pinned(void* memory) noexcept;

enum class Place { kDevice, kPinned };

/// An array that only its size is known of: contents are undefined, and lost when it grows.
template <class T, Place place = Place::kDevice>
class Array {
 public:
  Array() = default;
  explicit Array(std::int64_t count) { grow(count); }
  Array(Array&& other) noexcept : data_(std::exchange(other.data_, nullptr)), capacity_(std::exchange(other.capacity_, 0)) {}
  Array& operator=(Array&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~Array() { release(); }

  /// True if the memory moved: what was captured with it is stale.
  bool grow(std::int64_t count) {
    if (count <= capacity_) {
      return false;
    }
    release();
    const std::uint64_t bytes = static_cast<std::uint64_t>(count) * sizeof(T);
    data_ = static_cast<T*>(place == Place::kDevice ? allocate_device(bytes) : allocate_pinned(bytes));
    capacity_ = count;
    return true;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }
  std::int64_t capacity() const { return capacity_; }
  std::uint64_t bytes() const { return static_cast<std::uint64_t>(capacity_) * sizeof(T); }

 private:
  void release() noexcept {
    if (data_ != nullptr) {
      place == Place::kDevice ? free_device(data_) : free_pinned(data_);
    }
    data_ = nullptr;
    capacity_ = 0;
  }
  T* data_ = nullptr;
  std::int64_t capacity_ = 0;
};
template <class T>
using PinnedArray = Array<T, Place::kPinned>;

/// count values from host to device or back, queued on the stream; the host memory must stay until it is done.
template <class T>
void copy(T* to, const T* from, std::int64_t count, cudaStream_t stream) {
  check(cudaMemcpyAsync(to, from, static_cast<std::uint64_t>(count) * sizeof(T), cudaMemcpyDefault, stream), "cudaMemcpyAsync");
}

}  // namespace unmask::experts::cuda
