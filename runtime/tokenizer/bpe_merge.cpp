// SPDX-License-Identifier: Apache-2.0
#include "runtime/tokenizer/bpe_merge.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <queue>
#include <unordered_map>

namespace unmask::runtime::tokenizer {

MergeTable::MergeTable(std::size_t num_merges) : slots_(std::bit_ceil(num_merges * 2 + 2)), mask_(slots_.size() - 1) {}

std::size_t MergeTable::slot_of(std::uint64_t key) const {
  std::uint64_t hash = key * 0x9E3779B97F4A7C15U;
  hash ^= hash >> 32;
  std::size_t slot = static_cast<std::size_t>(hash * 0xD6E8FEB86659FD93U >> 20) & mask_;
  while (slots_[slot].key != key && slots_[slot].key != kEmpty) {
    slot = (slot + 1) & mask_;
  }
  return slot;
}

namespace {

std::uint64_t pair_key(TokenId left, TokenId right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
}

}  // namespace

void MergeTable::put(TokenId left, TokenId right, Merge merge) {
  const std::uint64_t key = pair_key(left, right);
  slots_[slot_of(key)] = {key, merge};
}

const Merge* MergeTable::find(TokenId left, TokenId right) const {
  const Slot& slot = slots_[slot_of(pair_key(left, right))];
  return slot.key == kEmpty ? nullptr : &slot.merge;
}

namespace {

constexpr std::size_t kShortWord = 48;
constexpr std::uint32_t kNoRank = ~std::uint32_t{0};

/// Short words: look for the lowest rank again after each merge. Quadratic, but nothing to set up.
void merge_short(const MergeTable& merges, std::vector<TokenId>& symbols) {
  std::array<Merge, kShortWord> next{};  // next[i]: what symbols i and i + 1 may become
  const auto look_up = [&](std::size_t i) {
    const Merge* merge = i + 1 < symbols.size() ? merges.find(symbols[i], symbols[i + 1]) : nullptr;
    return merge != nullptr ? *merge : Merge{kNoRank, 0};
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    next[i] = look_up(i);
  }
  while (symbols.size() > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < symbols.size(); ++i) {
      if (next[i].rank < next[best].rank) {
        best = i;
      }
    }
    if (next[best].rank == kNoRank) {
      return;
    }
    symbols[best] = next[best].result;
    std::copy(next.begin() + static_cast<std::ptrdiff_t>(best) + 2, next.begin() + static_cast<std::ptrdiff_t>(symbols.size()),
              next.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    next[best] = look_up(best);
    if (best > 0) {
      next[best - 1] = look_up(best - 1);
    }
  }
}

/// Long words: the symbols as a linked list, the places of every rank in a bucket, the ranks in a heap. One bucket is
/// walked from left to right at a time, so a run of 10 million equal letters costs a few sweeps and no big heap.
/// A place found to have changed meanwhile is passed over. A bucket never gets places while it is being walked: what a
/// merge makes is a longer token than both its parts, and so are all tokens made from it in turn.
class LongWord {
 public:
  LongWord(const MergeTable& merges, std::vector<TokenId>& symbols)
      : merges_(merges), symbols_(symbols), previous_(symbols.size()), next_(symbols.size()) {
    for (std::uint32_t i = 0; i < symbols.size(); ++i) {
      previous_[i] = i == 0 ? kNone : i - 1;
      next_[i] = i + 1 < symbols.size() ? i + 1 : kNone;
      note(i);
    }
  }

  void run() {
    while (!ranks_.empty()) {
      Bucket& bucket = buckets_[ranks_.top()];
      if (bucket.walked == bucket.places.size()) {
        buckets_.erase(ranks_.top());
        ranks_.pop();
        continue;
      }
      if (!bucket.sorted) {
        std::sort(bucket.places.begin() + static_cast<std::ptrdiff_t>(bucket.walked), bucket.places.end());
        bucket.sorted = true;
      }
      merge_at(bucket.places[bucket.walked++], bucket.result);
    }
    std::erase(symbols_, kGone);
  }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  static constexpr TokenId kGone = -1;
  struct Bucket {
    std::vector<std::uint32_t> places;  ///< left parts of pairs of this rank
    std::size_t walked = 0;
    bool sorted = true;
    TokenId result = 0;
  };

  /// Files the pair that begins at `place`.
  void note(std::uint32_t place) {
    const std::uint32_t right = next_[place];
    const Merge* merge = right == kNone ? nullptr : merges_.find(symbols_[place], symbols_[right]);
    if (merge == nullptr) {
      return;
    }
    const auto [found, is_new] = buckets_.try_emplace(merge->rank);
    Bucket& bucket = found->second;
    if (is_new) {
      bucket.result = merge->result;
      ranks_.push(merge->rank);
    }
    bucket.sorted = bucket.sorted && (bucket.places.empty() || bucket.places.back() <= place);
    bucket.places.push_back(place);
  }

  void merge_at(std::uint32_t place, TokenId result) {
    const std::uint32_t right = next_[place];
    if (symbols_[place] == kGone || right == kNone) {
      return;
    }
    const Merge* merge = merges_.find(symbols_[place], symbols_[right]);
    if (merge == nullptr || merge->result != result) {
      return;
    }
    symbols_[place] = result;
    symbols_[right] = kGone;
    next_[place] = next_[right];
    if (next_[place] != kNone) {
      previous_[next_[place]] = place;
    }
    if (previous_[place] != kNone) {
      note(previous_[place]);
    }
    note(place);
  }

  const MergeTable& merges_;
  std::vector<TokenId>& symbols_;
  std::vector<std::uint32_t> previous_;
  std::vector<std::uint32_t> next_;
  std::unordered_map<std::uint32_t, Bucket> buckets_;
  std::priority_queue<std::uint32_t, std::vector<std::uint32_t>, std::greater<>> ranks_;
};

}  // namespace

void merge_symbols(const MergeTable& merges, std::vector<TokenId>& symbols) {
  if (symbols.size() <= kShortWord) {
    merge_short(merges, symbols);
  } else {
    LongWord(merges, symbols).run();
  }
}

}  // namespace unmask::runtime::tokenizer
