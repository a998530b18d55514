// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace unmask::launcher {

/// Things that arrive in any order and leave by number: 0, 1, 2, ... or from another first one on.
template <class T>
class InOrder {
 public:
  explicit InOrder(std::int64_t first = 0) : next_(first) {}

  void put(std::int64_t number, T thing) { waiting_.emplace(number, std::move(thing)); }

  /// The next one if it is there.
  std::optional<T> next() {
    const auto at = waiting_.find(next_);
    if (at == waiting_.end()) {
      return std::nullopt;
    }
    std::optional<T> thing(std::move(at->second));
    waiting_.erase(at);
    ++next_;
    return thing;
  }
  std::int64_t num_left() const { return next_; }  ///< how many have left; the number of the next one
  std::size_t num_waiting() const { return waiting_.size(); }

 private:
  std::map<std::int64_t, T> waiting_;
  std::int64_t next_;
};

}  // namespace unmask::launcher
