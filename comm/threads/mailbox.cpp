// SPDX-License-Identifier: Apache-2.0
#include "comm/threads/mailbox.h"

#include <algorithm>

namespace unmask::comm::threads {

void Mailbox::match(std::span<const std::byte> message, Receive& receive) {
  receive.message_bytes = message.size();
  if (message.size() == receive.into.size()) {  // else the receiver reports it
    std::copy(message.begin(), message.end(), receive.into.begin());
  }
}

void Mailbox::deliver(std::span<const std::byte> message) {
  const std::lock_guard lock(mutex_);
  if (receives_.empty()) {
    messages_.emplace_back(message.begin(), message.end());
  } else {
    match(message, *receives_.front());
    receives_.pop_front();
  }
}

void Mailbox::expect(Receive& receive) {
  const std::lock_guard lock(mutex_);
  if (messages_.empty()) {
    receives_.push_back(&receive);
  } else {
    match(messages_.front(), receive);
    messages_.pop_front();
  }
}

bool Mailbox::is_done(const Receive& receive) {
  const std::lock_guard lock(mutex_);
  return receive.message_bytes.has_value();
}

void Mailbox::cancel(Receive& receive) {
  const std::lock_guard lock(mutex_);
  std::erase(receives_, &receive);
}

std::optional<std::int64_t> Mailbox::first_bytes() {
  const std::lock_guard lock(mutex_);
  if (messages_.empty()) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(messages_.front().size());
}

void Bell::ring() {
  const std::lock_guard lock(mutex_);
  ++rings_;
  rung_.notify_one();
}

void Bell::wait(std::chrono::microseconds at_most) {
  std::unique_lock lock(mutex_);
  rung_.wait_for(lock, at_most, [&] { return rings_ != heard_; });
  heard_ = rings_;
}

}  // namespace unmask::comm::threads
