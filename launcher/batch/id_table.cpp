// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/id_table.h"

#include <algorithm>

namespace unmask::launcher {

/// False: it was there. There is at least one free slot.
bool IdTable::place(std::vector<LineHash>& slots, const LineHash& hash) {
  std::size_t at = static_cast<std::size_t>((hash.high >> 10) % slots.size());
  while (slots[at] != LineHash{}) {
    if (slots[at] == hash) {
      return false;
    }
    at = at + 1 == slots.size() ? 0 : at + 1;
  }
  slots[at] = hash;
  return true;
}

/// By half: between 57 % and 85 % are in use, so an id takes 19 to 28 bytes.
void IdTable::grow(Shard& shard) {
  std::vector<LineHash> larger(std::max<std::size_t>(8, shard.slots.size() * 3 / 2));
  for (const LineHash& hash : shard.slots) {
    if (hash != LineHash{}) {
      place(larger, hash);
    }
  }
  shard.slots = std::move(larger);
}

bool IdTable::insert(std::string_view id) {
  LineHash hash = hash_line(id, 0);
  hash.low |= hash == LineHash{} ? 1U : 0U;
  Shard& shard = shards_[hash.low % kShards];
  if ((shard.num_used + 1) * 100 > shard.slots.size() * 85) {
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
  std::uint64_t slots = 0;
  for (const Shard& shard : shards_) {
    slots += shard.slots.capacity();
  }
  return slots * sizeof(LineHash);
}

}  // namespace unmask::launcher
