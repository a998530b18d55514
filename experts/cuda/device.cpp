// SPDX-License-Identifier: Apache-2.0
#include "experts/cuda/device.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/error.h"

namespace unmask::experts::cuda {
namespace {

/// The last calls of this thread, for the message of a fault: the device reports it to a later call than the one that is at fault.
class RecentCalls {
 public:
  void add(std::string_view call) {
    Name& name = names_[static_cast<std::size_t>(count_++) % names_.size()];
    name.fill('\0');
    std::copy_n(call.begin(), std::min(call.size(), name.size() - 1), name.begin());
  }
  /// The oldest first.
  std::string list() const {
    std::string text;
    const auto kept = static_cast<std::int64_t>(names_.size());
    for (std::int64_t i = std::max<std::int64_t>(0, count_ - kept); i < count_; ++i) {
      text += text.empty() ? "" : ", ";
      text += names_[static_cast<std::size_t>(i % kept)].data();
    }
    return text;
  }

 private:
  using Name = std::array<char, 48>;
  std::array<Name, 8> names_{};
  std::int64_t count_ = 0;
};

thread_local RecentCalls recent_calls;

/// Of the machine, found before any work: nothing is wrong with us or the device.
bool is_of_environment(cudaError_t status) {
  return status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver || status == cudaErrorSystemDriverMismatch ||
         status == cudaErrorDevicesUnavailable || status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDevice ||
         status == cudaErrorInitializationError;
}

std::string device_name() {
  int device = -1;
  std::array<char, 32> bus{};
  if (cudaGetDevice(&device) != cudaSuccess || cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), device) != cudaSuccess) {
    return "a device";
  }
  return format("device {} ({})", device, bus.data());
}

std::string versions() {
  int driver = 0, runtime = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return "no CUDA driver was found";
  }
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) {
    return format("the driver serves CUDA {}.{}", driver / 1000, driver % 1000 / 10);
  }
  return format("the driver serves CUDA {}.{}, this program is built with {}.{}", driver / 1000, driver % 1000 / 10, runtime / 1000,
                runtime % 1000 / 10);
}

std::string in_mib(std::size_t bytes) { return format("{:.1f} MiB", static_cast<double>(bytes) / 0x1p20); }

[[noreturn]] void refuse_memory(std::uint64_t bytes, std::string_view kind) {
  static_cast<void>(cudaGetLastError());  // an allocation that failed leaves the device as it was
  std::size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) {
    fail(ExitCode::kBadInput, "{}: expected {} of {} memory, found less; use fewer rows (--max-rows), less --kv-memory or more ranks",
         device_name(), in_mib(bytes), kind);
  }
  fail(ExitCode::kBadInput,
       "{}: expected {} more of {} memory, but {} of the device's {} are free; use fewer rows (--max-rows), less --kv-memory or more ranks",
       device_name(), in_mib(bytes), kind, in_mib(free), in_mib(total));
}

}  // namespace

void check(cudaError_t status, std::string_view call) {
  recent_calls.add(call);
  if (status == cudaSuccess) [[likely]] {
    return;
  }
  const std::string what = format("{} returned {} ({}: {})", call, cudaGetErrorName(status), static_cast<int>(status), cudaGetErrorString(status));
  if (is_of_environment(status)) {
    fail(ExitCode::kBadInput, "{}; {}", what, versions());
  }
  if (status == cudaErrorMemoryAllocation) {
    fail(ExitCode::kBadInput, "{}: {}; use fewer rows (--max-rows), less --kv-memory or more ranks", device_name(), what);
  }
  static_cast<void>(cudaGetLastError());
  const bool sticky = cudaGetLastError() != cudaSuccess;  // comes back though it was just taken
  fail(ExitCode::kPeerLost, "{}: {}; {}; last calls of this thread: {}", device_name(), what,
       sticky ? "the device does nothing more for this process, start it again" : "the device itself still answers", recent_calls.list());
}

Stream make_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return Stream(stream);
}

Event make_event(Timing timing) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, timing == Timing::kOn ? cudaEventDefault : cudaEventDisableTiming), "cudaEventCreateWithFlags");
  return Event(event);
}

void* allocate_device(std::uint64_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    refuse_memory(bytes, "device");
  }
  check(status, "cudaMalloc");
  return memory;
}

void* allocate_pinned(std::uint64_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaHostAlloc(&memory, bytes, cudaHostAllocPortable);
  if (status == cudaErrorMemoryAllocation) {
    refuse_memory(bytes, "page-locked host");
  }
  check(status, "cudaHostAlloc");
  return memory;
}

void free_device(void* memory) noexcept { static_cast<void>(cudaFree(memory)); }
void free_pinned(void* memory) noexcept { static_cast<void>(cudaFreeHost(memory)); }

}  // namespace unmask::experts::cuda
