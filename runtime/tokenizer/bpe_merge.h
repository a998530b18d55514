// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/types.h"

namespace unmask::runtime::tokenizer {

/// What two neighbours may become; a lower rank goes first.
struct Merge {
  std::uint32_t rank = 0;
  TokenId result = 0;
};

/// Merges by their two parts: an open-addressing hash table, built once.
class MergeTable {
 public:
  explicit MergeTable(std::size_t num_merges);
  /// A pair that is already there gets the new merge (as the reference does).
  void put(TokenId left, TokenId right, Merge merge);
  const Merge* find(TokenId left, TokenId right) const;

 private:
  struct Slot {
    std::uint64_t key = kEmpty;
    Merge merge;
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};  // no pair of non-negative ids
  std::size_t slot_of(std::uint64_t key) const;

  std::vector<Slot> slots_;  ///< a power of two, at most half full
  std::size_t mask_ = 0;
};

/// Replaces neighbours in `symbols` until no merge applies: always the lowest rank, leftmost first. O(n log n) at worst.
void merge_symbols(const MergeTable& merges, std::vector<TokenId>& symbols);

}  // namespace unmask::runtime::tokenizer
