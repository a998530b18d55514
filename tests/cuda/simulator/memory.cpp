// SPDX-License-Identifier: Apache-2.0
#include "memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "base/format.h"
#include "simulator/block.h"
#include "simulator/control.h"
#include "simulator/queue.h"

namespace simulator {
namespace {

constexpr std::size_t kGuardBytes = 256;  // on each side; CUDA aligns to as much
constexpr unsigned char kPoison = 0xFF;

/// What lies between its guards at `memory`.
struct Allocation {
  std::byte* memory = nullptr;
  std::size_t bytes = 0;

  std::byte* front() const { return memory - kGuardBytes; }
  std::byte* behind() const { return memory + bytes; }
};

struct Registry {
  std::mutex mutex;
  std::map<const std::byte*, Allocation> allocations;
  std::size_t total = std::size_t{8} << 30;
  std::size_t used = 0;
  std::vector<std::weak_ptr<const void*>> held;
};

Registry& registry() {
  static Registry all;
  return all;
}

/// With AddressSanitizer, guards may not be touched at all: it tells who did.
void close_guard([[maybe_unused]] std::byte* guard) {
  std::memset(guard, kGuardByte, kGuardBytes);
#if defined(__SANITIZE_ADDRESS__)
  ASAN_POISON_MEMORY_REGION(guard, kGuardBytes);
#endif
}

void open_guard([[maybe_unused]] std::byte* guard) {
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(guard, kGuardBytes);
#endif
}

bool is_whole([[maybe_unused]] const std::byte* guard) {
#if defined(__SANITIZE_ADDRESS__)
  return true;
#else
  return std::all_of(guard, guard + kGuardBytes, [](std::byte b) { return b == std::byte{kGuardByte}; });
#endif
}

void check(const Allocation& a, std::string_view who) {
  const bool front = is_whole(a.front());
  if (!front || !is_whole(a.behind())) {
    throw Fault(unmask::format("{}: written {} an allocation of {} bytes", who, front ? "behind" : "in front of", a.bytes));
  }
}

/// The allocation in which an address lies, or at whose end; null: none.
const Allocation* find(const Registry& all, const void* memory) {
  const auto* address = static_cast<const std::byte*>(memory);
  auto next = all.allocations.upper_bound(address);
  if (next == all.allocations.begin()) {
    return nullptr;
  }
  const Allocation& a = std::prev(next)->second;
  return address <= a.behind() ? &a : nullptr;
}

bool is_held(Registry& all, const Allocation& a) {
  std::erase_if(all.held, [](const auto& one) { return one.expired(); });
  return std::any_of(all.held.begin(), all.held.end(), [&](const auto& one) {
    const auto held = one.lock();
    return held != nullptr && *held >= a.memory && *held < a.behind();
  });
}

}  // namespace

std::shared_ptr<const void> hold(const void* memory) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const auto held = std::make_shared<const void*>(memory);
  all.held.push_back(held);
  return held;
}

void* allocate(std::size_t bytes) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  if (bytes > all.total - std::min(all.total, all.used)) {
    return nullptr;
  }
  const std::size_t whole = (bytes + 3 * kGuardBytes - 1) / kGuardBytes * kGuardBytes;
  auto* const raw = static_cast<std::byte*>(std::aligned_alloc(kGuardBytes, whole));
  if (raw == nullptr) {
    return nullptr;
  }
  const Allocation made{raw + kGuardBytes, bytes};
  std::memset(made.memory, kPoison, bytes);
  close_guard(made.front());
  close_guard(made.behind());
  all.allocations[made.memory] = made;
  all.used += bytes;
  return made.memory;
}

bool release(void* memory) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const auto found = all.allocations.find(static_cast<std::byte*>(memory));
  if (found == all.allocations.end()) {
    return false;
  }
  const Allocation freed = found->second;
  all.allocations.erase(found);
  all.used -= freed.bytes;
  if (std::uncaught_exceptions() == 0) {  // else the fault that is on its way says more
    check(freed, "cudaFree");
    if (is_held(all, freed)) {
      throw Fault(unmask::format("cudaFree: {} bytes that a captured exchange still names", freed.bytes));
    }
  }
  open_guard(freed.front());
  open_guard(freed.behind());
  std::free(freed.front());
  return true;
}

void check_guards(std::string_view kernel) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  for (const auto& [address, allocation] : all.allocations) {
    check(allocation, kernel);
  }
}

void check_range(const void* memory, std::size_t bytes, std::string_view call) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const Allocation* const a = find(all, memory);
  if (a != nullptr && bytes > 0 && static_cast<const std::byte*>(memory) + bytes > a->behind()) {
    throw Fault(unmask::format("{}: {} bytes from byte {} of an allocation of {}", call, bytes,
                               static_cast<const std::byte*>(memory) - a->memory, a->bytes));
  }
}

bool is_device_memory(const void* memory) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const Allocation* const a = find(all, memory);
  return a != nullptr && memory != a->behind();
}

std::size_t total_bytes() { return registry().total; }

std::size_t free_bytes() {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  return all.total - std::min(all.total, all.used);
}

void set_device_memory(std::size_t bytes) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  all.total = bytes;
}

}  // namespace simulator
