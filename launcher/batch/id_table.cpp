// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/id_table.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <new>

namespace unmask::launcher {
namespace {

constexpr std::size_t kMostFullPercent = 85;

}  // namespace

SlotPages::~SlotPages() {
  if (slots_ != nullptr) {
    ::munmap(slots_, num_bytes_);
  }
}

void SlotPages::grow() {
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t larger = num_bytes_ + std::max<std::size_t>(1, num_bytes_ / page / 8) * page;
  void* const pages = slots_ == nullptr ? ::mmap(nullptr, larger, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                                        : ::mremap(slots_, num_bytes_, larger, MREMAP_MAYMOVE);
  if (pages == MAP_FAILED) {
    throw std::bad_alloc();
  }
  slots_ = static_cast<LineHash*>(pages);
  num_bytes_ = larger;
}

/// False: it was there. There is at least one free slot.
bool IdTable::place(SlotPages& slots, const LineHash& hash) {
  std::size_t at = static_cast<std::size_t>((hash.high >> 10) % slots.num_slots());
  while (slots[at] != LineHash{}) {
    if (slots[at] == hash) {
      return false;
    }
    at = at + 1 == slots.num_slots() ? 0 : at + 1;
  }
  slots[at] = hash;
  return true;
}

/// Between 75 % and 85 % of many slots are in use, so an id takes 19 to 21 bytes, and for a moment 16 / kShards more.
void IdTable::grow(Shard& shard) {
  moving_.clear();
  std::copy_if(shard.slots.begin(), shard.slots.end(), std::back_inserter(moving_), [](const LineHash& hash) { return hash != LineHash{}; });
  shard.slots.grow();
  std::fill(shard.slots.begin(), shard.slots.end(), LineHash{});
  for (const LineHash& hash : moving_) {
    place(shard.slots, hash);
  }
}

bool IdTable::insert(std::string_view id) {
  LineHash hash = hash_line(id, 0);
  hash.low |= hash == LineHash{} ? 1U : 0U;
  Shard& shard = shards_[hash.low % kShards];
  if ((shard.num_used + 1) * 100 > shard.slots.num_slots() * kMostFullPercent) {
    grow(shard);
  }
  if (!place(shard.slots, hash)) {
    return false;
  }
  ++shard.num_used;
  ++num_ids_;
  return true;
}

std::uint64_t IdTable::num_bytes() const {
  std::uint64_t bytes = moving_.capacity() * sizeof(LineHash);
  for (const Shard& shard : shards_) {
    bytes += shard.slots.num_bytes();
  }
  return bytes;
}

}  // namespace unmask::launcher
