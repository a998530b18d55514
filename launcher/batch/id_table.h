// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "launcher/batch/line_hash.h"

namespace unmask::launcher {

/// The ids that were seen so far, as hashes of 128 bits: at most 32 bytes an id, however many there are. Open addressing in
/// many small tables that grow one at a time, so that growing never holds everything twice.
class IdTable {
 public:
  /// False: it was there before.
  bool insert(std::string_view id);

  std::int64_t size() const { return num_ids_; }
  std::uint64_t num_bytes() const;

 private:
  static constexpr std::size_t kShards = 1024;
  struct Shard {
    std::vector<LineHash> slots;  ///< all zero: free
    std::size_t num_used = 0;
  };
  static bool place(std::vector<LineHash>& slots, const LineHash& hash);
  static void grow(Shard& shard);

  std::array<Shard, kShards> shards_;
  std::int64_t num_ids_ = 0;
};

}  // namespace unmask::launcher
