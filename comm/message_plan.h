// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/types.h"
#include "comm/chunks.h"

namespace unmask::comm {

/// The messages of one lane and one direction in one layer, in the order in which they are issued: by chunk, and within a chunk
/// the next rank first. Every rank derives its own from counts that both ends of a message know, and issues it in order: that
/// messages of different chunks never meet is a property of this object.
class MessagePlan {
 public:
  struct Message {
    Rank peer;
    Cut cut;
    std::int64_t offset = 0;  ///< of its bytes in all that goes this way between the two ranks
  };
  /// By which of its chunks a message is due: rows out by the first, which needs them; rows back by the last, which ends them.
  enum class Due { kFirst, kLast };

  void begin(Due due);
  void add(Rank peer, std::span<const Cut> cuts);
  /// Puts the messages in order; none is added after that.
  void order(Rank me, std::int64_t num_ranks);

  /// The next messages in order that are due before chunk `chunk_end`; each message once.
  std::span<const Message> issue_before(std::int64_t chunk_end);
  std::span<const Message> all() const { return messages_; }

 private:
  std::int64_t due(const Message& message) const { return due_ == Due::kFirst ? message.cut.begin : message.cut.end - 1; }

  Due due_ = Due::kFirst;
  std::vector<Message> messages_;
  std::size_t next_ = 0;
};

}  // namespace unmask::comm
