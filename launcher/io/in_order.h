// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace unmask::launcher {

/// Things that arrive in any order and leave by number: 0, 1, 2, ...
template <class T>
class InOrder {
 public:
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
  std::int64_t num_left() const { return next_; }  ///< how many have left

 private:
  std::map<std::int64_t, T> waiting_;
  std::int64_t next_ = 0;
};

}  // namespace unmask::launcher
