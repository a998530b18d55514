// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "launcher/batch/line_hash.h"

namespace unmask::launcher {

/// Slots in pages of their own, which the kernel moves without copying when they become more: nothing is ever held twice, and
/// no allocator keeps what was left behind.
class SlotPages {
 public:
  SlotPages() = default;
  ~SlotPages();
  SlotPages(const SlotPages&) = delete;
  SlotPages& operator=(const SlotPages&) = delete;

  /// An eighth more, a page at least; the new ones are zero. Throws std::bad_alloc.
  void grow();
  LineHash* begin() { return slots_; }
  LineHash* end() { return slots_ + num_slots(); }
  LineHash& operator[](std::size_t i) { return slots_[i]; }
  std::size_t num_slots() const { return num_bytes_ / sizeof(LineHash); }
  std::size_t num_bytes() const { return num_bytes_; }

 private:
  LineHash* slots_ = nullptr;
  std::size_t num_bytes_ = 0;
};

/// The ids that were seen so far, as hashes of 128 bits: with many of them at most 22 bytes an id, also while it grows. Open
/// addressing in tables that grow one at a time.
class IdTable {
 public:
  /// False: it was there before.
  bool insert(std::string_view id);

  std::int64_t size() const { return num_ids_; }
  /// All that is taken from the kernel and from the allocator.
  std::uint64_t num_bytes() const;

 private:
  static constexpr std::size_t kShards = 64;
  struct Shard {
    SlotPages slots;  ///< all zero: free
    std::size_t num_used = 0;
  };
  static bool place(SlotPages& slots, const LineHash& hash);
  void grow(Shard& shard);

  std::array<Shard, kShards> shards_;
  std::vector<LineHash> moving_;  ///< those of the shard that grows
  std::int64_t num_ids_ = 0;
};

}  // namespace unmask::launcher
