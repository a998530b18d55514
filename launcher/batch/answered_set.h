// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <set>
#include <vector>

namespace unmask::launcher {

/// Which requests are answered, and sums over the hashes of their lines, so that a changed input is found when it is read
/// again. Nearly all of them are a prefix: memory is a quarter of a byte a request, and more only for those beyond a gap.
class AnsweredSet {
 public:
  static constexpr std::int64_t kBlock = 64;  ///< requests that share a sum

  /// False: it was there.
  bool add(std::int64_t index, std::uint64_t line_hash);
  bool has(std::int64_t index) const { return index < first_missing_ || beyond_.contains(index); }
  std::int64_t first_missing() const { return first_missing_; }
  /// One more than the highest.
  std::int64_t end() const { return beyond_.empty() ? first_missing_ : *beyond_.rbegin() + 1; }
  std::int64_t num_answered() const { return first_missing_ + static_cast<std::int64_t>(beyond_.size()); }
  std::uint64_t sum_of_block(std::int64_t block) const;

 private:
  std::int64_t first_missing_ = 0;
  std::set<std::int64_t> beyond_;
  std::vector<std::uint64_t> sums_;
};

/// Compares the input, as it is read again, with the lines that were answered.
class InputCheck {
 public:
  explicit InputCheck(const AnsweredSet& answered) : answered_(answered) {}

  /// Each request in turn, answered or not. Throws Error(kBadInput) where an answered line of the last block was another one.
  void pass(std::int64_t index, std::int64_t number, std::uint64_t line_hash);
  /// The input ended after so many requests; throws where more were answered.
  void end(std::int64_t num_requests);

 private:
  void compare();

  const AnsweredSet& answered_;
  std::uint64_t sum_ = 0;
  std::int64_t block_ = 0;
  std::int64_t first_number_ = 1, last_number_ = 0;  ///< lines of the block
};

}  // namespace unmask::launcher
