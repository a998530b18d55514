// SPDX-License-Identifier: Apache-2.0
#include "comm/combine.h"

#include <algorithm>

#include "comm/wire_format.h"

namespace unmask::comm {
namespace {

WireType slot_type(bool whole, const ExchangeOptions& options) { return whole ? options.wire : WireType::kFloat32; }

/// Calls visit(group's first id, group's end) for each reduction group of each row, in order.
template <class Visit>
void for_each_group(const ExpertId* begin, const ExpertId* end, const cluster::ReductionGroups& groups, Visit visit) {
  while (begin != end) {
    const GroupId group = groups.group_of(*begin);
    const ExpertId* next = std::find_if(begin, end, [&](ExpertId id) { return groups.group_of(id) != group; });
    visit(group, begin, next);
    begin = next;
  }
}

}  // namespace

std::int64_t return_bytes(const Arrivals& arrivals, Rank source, const ExchangeOptions& options) {
  std::int64_t bytes = 0;
  for (auto slot = arrivals.slots_begin(source); slot < arrivals.slots_end(source); ++slot) {
    bytes += options.hidden * value_bytes(slot_type(arrivals.is_whole(slot), options));
  }
  return bytes;
}

void write_return(const Arrivals& arrivals, Rank source, std::span<const float> slots, const ExchangeOptions& options,
                  std::byte* message) {
  for (auto slot = arrivals.slots_begin(source); slot < arrivals.slots_end(source); ++slot) {
    message = encode(slots.data() + slot * options.hidden, options.hidden, slot_type(arrivals.is_whole(slot), options), message);
  }
}

void expected_returns(const SentRouting& sent, const cluster::Placement& placement, const ExchangeOptions& options,
                      std::vector<std::int64_t>& bytes) {
  std::fill(bytes.begin(), bytes.end(), 0);
  for (std::int64_t row = 0; row < sent.num_rows; ++row) {
    const ExpertId* ids = sent.ids.data() + row * sent.top_k;
    for_each_group(ids, ids + sent.top_k, placement.groups(), [&](GroupId group, const ExpertId* first, const ExpertId* last) {
      const bool whole = placement.is_whole(group);
      for (; first != last; ++first) {
        bytes[placement.owner(*first).at()] += options.hidden * value_bytes(slot_type(whole, options));
        if (whole) {
          break;
        }
      }
    });
  }
}

GroupSums::GroupSums(const cluster::Placement& placement, const ExchangeOptions& options)
    : placement_(placement), options_(options), scratch_(size(options.hidden)), group_(size(options.hidden)) {}

const float* GroupSums::next(const Returns& returns, Rank rank, WireType type) {
  if (rank == returns.me) {
    return std::exchange(own_cursor_, own_cursor_ + options_.hidden);
  }
  cursor_[rank.at()] = decode(cursor_[rank.at()], options_.hidden, type, scratch_.data());
  return scratch_.data();
}

void GroupSums::sum(const SentRouting& sent, const Returns& returns, std::span<float> sums) {
  cursor_.assign(returns.messages.begin(), returns.messages.end());
  own_cursor_ = returns.own_slots;
  std::fill(sums.begin(), sums.end(), 0.0F);
  for (std::int64_t row = 0; row < sent.num_rows; ++row) {
    const ExpertId* ids = sent.ids.data() + row * sent.top_k;
    float* row_sum = sums.data() + row * options_.hidden;
    for_each_group(ids, ids + sent.top_k, placement_.groups(), [&](GroupId group, const ExpertId* first, const ExpertId* last) {
      if (placement_.is_whole(group)) {  // a remote one is rounded already; once more changes nothing
        add_rounded(options_.wire, next(returns, placement_.owner(*first), options_.wire), options_.hidden, row_sum);
        return;
      }
      std::fill(group_.begin(), group_.end(), 0.0F);
      for (; first != last; ++first) {
        add(next(returns, placement_.owner(*first), WireType::kFloat32), options_.hidden, group_.data());
      }
      add_rounded(options_.wire, group_.data(), options_.hidden, row_sum);
    });
  }
}

}  // namespace unmask::comm
