// SPDX-License-Identifier: Apache-2.0
#include "comm/message_plan.h"

#include <algorithm>

namespace unmask::comm {

void MessagePlan::begin(Due due) {
  due_ = due;
  messages_.clear();
  next_ = 0;
}

void MessagePlan::add(Rank peer, std::span<const Cut> cuts) {
  std::int64_t offset = 0;
  for (const Cut& cut : cuts) {
    messages_.push_back({peer, cut, offset});
    offset += cut.bytes;
  }
}

void MessagePlan::order(Rank me, std::int64_t num_ranks) {
  const auto distance = [&](Rank peer) { return (peer.value - me.value + num_ranks) % num_ranks; };
  std::stable_sort(messages_.begin(), messages_.end(), [&](const Message& a, const Message& b) {
    return std::pair(due(a), distance(a.peer)) < std::pair(due(b), distance(b.peer));
  });
}

std::span<const MessagePlan::Message> MessagePlan::issue_before(std::int64_t chunk_end) {
  const std::size_t begin = next_;
  while (next_ < messages_.size() && due(messages_[next_]) < chunk_end) {
    ++next_;
  }
  return {messages_.data() + begin, next_ - begin};
}

}  // namespace unmask::comm
