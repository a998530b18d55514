// SPDX-License-Identifier: Apache-2.0
// Allocations and copies.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "memory.h"
#include "simulator/queue.h"
#include "state.h"

using simulator::noted;

namespace {

/// Page-locked memory is filled like device memory, so that reading what nobody wrote shows itself.
cudaError_t allocate_pinned(void** memory, std::size_t bytes) {
  if (simulator::forbids_waiting()) {
    return noted(cudaErrorStreamCaptureUnsupported);
  }
  *memory = std::malloc(bytes);
  if (*memory == nullptr) {
    return noted(cudaErrorMemoryAllocation);
  }
  std::memset(*memory, 0xFF, bytes);
  return noted(cudaSuccess);
}

/// What a copy says of its ends must be true, and both must hold so many bytes.
bool fits(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, const char* call) {
  simulator::check_range(to, bytes, call);
  simulator::check_range(from, bytes, call);
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return kind == cudaMemcpyDefault || bytes == 0 ||
         (simulator::is_device_memory(to) == to_device && simulator::is_device_memory(from) == from_device);
}

}  // namespace

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  if (simulator::forbids_waiting()) {
    return noted(cudaErrorStreamCaptureUnsupported);
  }
  if (bytes == 0) {
    *memory = nullptr;
    return noted(cudaSuccess);
  }
  *memory = simulator::allocate(bytes);
  return noted(*memory == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}
cudaError_t cudaFree(void* memory) {
  return noted(memory == nullptr || simulator::release(memory) ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) { return allocate_pinned(memory, bytes); }
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) { return allocate_pinned(memory, bytes); }
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return noted(cudaSuccess);
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *free = simulator::free_bytes();
  *total = simulator::total_bytes();
  return noted(cudaSuccess);
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  const bool device = simulator::is_device_memory(memory);
  void* const there = const_cast<void*>(memory);
  *attributes = {device ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered, 0, device ? there : nullptr, device ? nullptr : there};
  return noted(cudaSuccess);
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (simulator::forbids_waiting()) {
    return noted(cudaErrorStreamCaptureUnsupported);
  }
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (!fits(to, from, bytes, kind, "cudaMemcpyAsync")) {
    return noted(cudaErrorInvalidValue);
  }
  return simulator::queue(stream, [=] {
    if (bytes > 0) {
      std::memmove(to, from, bytes);
    }
  });
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch, std::size_t width,
                              std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch ||
      !fits(to, from, height == 0 ? 0 : width, kind, "cudaMemcpy2DAsync")) {
    return noted(cudaErrorInvalidValue);
  }
  if (height > 0) {
    simulator::check_range(to, (height - 1) * to_pitch + width, "cudaMemcpy2DAsync");
    simulator::check_range(from, (height - 1) * from_pitch + width, "cudaMemcpy2DAsync");
  }
  return simulator::queue(stream, [=] {
    for (std::size_t row = 0; row < height; ++row) {
      std::memmove(static_cast<std::byte*>(to) + row * to_pitch, static_cast<const std::byte*>(from) + row * from_pitch, width);
    }
  });
}
cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) { return cudaMemsetAsync(memory, value, bytes, nullptr); }
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  simulator::check_range(memory, bytes, "cudaMemsetAsync");
  if (!simulator::is_device_memory(memory) && bytes > 0) {
    return noted(cudaErrorInvalidValue);
  }
  return simulator::queue(stream, [=] { std::memset(memory, value, bytes); });
}
