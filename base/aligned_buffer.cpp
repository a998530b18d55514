// SPDX-License-Identifier: Apache-2.0
#include "base/aligned_buffer.h"

#include <sys/mman.h>

namespace unmask {

void* aligned_memory(std::size_t bytes) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const bool large = bytes >= kHugePage / 2;
  const std::size_t alignment = large ? kHugePage : 64;
  bytes = (bytes + alignment - 1) / alignment * alignment;  // only whole huge pages are given
  void* memory = std::aligned_alloc(alignment, bytes);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  if (large) {
    static_cast<void>(madvise(memory, bytes, MADV_HUGEPAGE));  // without them the buffer is only read more slowly
  }
  return memory;
}

}  // namespace unmask
