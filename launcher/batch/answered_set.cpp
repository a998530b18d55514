// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/answered_set.h"

#include "base/error.h"
#include "base/types.h"

namespace unmask::launcher {

bool AnsweredSet::add(std::int64_t index, std::uint64_t line_hash) {
  if (has(index)) {
    return false;
  }
  const auto block = size(index / kBlock);
  if (block >= sums_.size()) {
    sums_.resize(block + 1);
  }
  sums_[block] += line_hash;
  if (index != first_missing_) {
    beyond_.insert(index);
    return true;
  }
  ++first_missing_;
  while (!beyond_.empty() && *beyond_.begin() == first_missing_) {
    beyond_.erase(beyond_.begin());
    ++first_missing_;
  }
  return true;
}

std::uint64_t AnsweredSet::sum_of_block(std::int64_t block) const {
  return size(block) < sums_.size() ? sums_[size(block)] : 0;
}

void InputCheck::compare() {
  require(sum_ == answered_.sum_of_block(block_), ExitCode::kBadInput,
          "the input changed: among its lines {} to {} is one that was answered and is another one now; put the old line back, or "
          "throw the answers away with --restart",
          first_number_, last_number_);
}

void InputCheck::pass(std::int64_t index, std::int64_t number, std::uint64_t line_hash) {
  if (index >= answered_.end()) {
    end(index);
    return;
  }
  if (index / AnsweredSet::kBlock != block_) {
    compare();
    block_ = index / AnsweredSet::kBlock;
    sum_ = 0;
    first_number_ = number;
  }
  last_number_ = number;
  sum_ += answered_.has(index) ? line_hash : 0;
}

void InputCheck::end(std::int64_t num_requests) {
  require(num_requests >= answered_.end(), ExitCode::kBadInput,
          "the input changed: {} of its requests were answered, it has only {} now; put the old input back, or throw the answers "
          "away with --restart",
          answered_.end(), num_requests);
  compare();
}

}  // namespace unmask::launcher
