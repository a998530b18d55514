// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/file_descriptor.h"

namespace unmask::cluster {

/// Memory that several processes of a host can map. It has no name in any file system and lives as long as a process maps it:
/// whatever is killed whenever, nothing stays behind, and limits of /dev/shm do not count. It takes up what was written to, on
/// the NUMA node and the account (cgroup) of whoever wrote first. Huge pages where the system gives them to shared memory.
class SharedMemory {
 public:
  /// How another process finds it. The name is random: who finds it has found this memory, not that of a process which has the
  /// same number on another host or in another container.
  struct Offer {
    std::int64_t process = 0;
    std::int32_t descriptor = 0;
    std::string name;
    std::uint64_t bytes = 0;
  };

  /// All throw Error(kIo) where the system does not allow it.
  static SharedMemory create(std::size_t bytes);
  /// Maps what a process offers; what this one offers, a second time.
  static SharedMemory take(const Offer& offer);

  /// To be taken while end_offer() was not called. Only of created memory.
  Offer offer() const;
  void end_offer() { descriptor_.reset(); }

  /// Begins at a huge page.
  std::span<std::byte> bytes() const { return bytes_; }

  /// Gets memory for a part before it is written to. Throws std::bad_alloc where there is none, which would else be a SIGBUS.
  void populate(std::span<const std::byte> part) const;

  /// For this process, from now on. Only a safeguard: nothing is said where it fails.
  void forbid_writes() const;

 private:
  struct MappingTraits {
    struct Value {
      std::byte* begin = nullptr;
      std::size_t bytes = 0;
      bool operator==(const Value&) const = default;
    };
    static Value empty() { return {}; }
    static void close(Value mapping) noexcept;
  };
  using Mapping = UniqueHandle<MappingTraits>;

  SharedMemory(FileDescriptor descriptor, std::string name, std::size_t bytes);

  FileDescriptor descriptor_;
  std::string name_;
  Mapping mapping_;              ///< of addresses: some more than bytes_, which begins at a huge page
  std::span<std::byte> bytes_;
};

}  // namespace unmask::cluster
