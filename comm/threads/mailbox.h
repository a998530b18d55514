// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "comm/communicator.h"

namespace unmask::comm::threads {

/// Where the messages of one sender to one receiver on one lane lie until they are asked for. Thread-safe.
///
///   sender: deliver -> a receive waits?  copy into its buffer     receiver: expect -> a message waits?  copy it out
///                      else keep a copy                                              else wait in line
class Mailbox {
 public:
  /// A receive: where the bytes go, and what has happened to it.
  struct Receive {
    std::span<std::byte> into;
    std::optional<std::size_t> message_bytes;  ///< set by the mailbox: size of the message that matched
  };

  void deliver(std::span<const std::byte> message);
  /// The receive must live until is_done() or cancel().
  void expect(Receive& receive);
  bool is_done(const Receive& receive);
  void cancel(Receive& receive);
  /// Size of the first message that no receive was started for.
  std::optional<std::int64_t> first_bytes();

 private:
  static void match(std::span<const std::byte> message, Receive& receive);

  std::mutex mutex_;
  std::deque<Bytes> messages_;
  std::deque<Receive*> receives_;  ///< only one of the two is ever non-empty
};

/// Wakes a rank that rests when something arrived for it. Thread-safe.
class Bell {
 public:
  void ring();
  /// Returns when the bell has rung since the last wait, or after `at_most`. Only the owner waits.
  void wait(std::chrono::microseconds at_most);

 private:
  std::mutex mutex_;
  std::condition_variable rung_;
  std::uint64_t rings_ = 0;
  std::uint64_t heard_ = 0;
};

}  // namespace unmask::comm::threads
