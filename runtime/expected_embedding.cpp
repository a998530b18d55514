// SPDX-License-Identifier: Apache-2.0
#include "runtime/expected_embedding.h"

#include <algorithm>

namespace unmask::runtime {

void RangeWeight::add(const RangeWeight& other, const experts::KernelFamily& kernels) {
  if (other.total <= 0) {
    return;
  }
  if (total <= 0) {
    *this = other;
    return;
  }
  const float highest = std::max(top, other.top);
  total = total * kernels.exponential(top - highest) + other.total * kernels.exponential(other.top - highest);
  top = highest;
}

void ExpectedEmbeddings::join(std::int64_t row, const RangeWeight& weight, const float* values,
                              const experts::KernelFamily& kernels) {
  RangeWeight& mine = weights_[size(row)];
  const RangeWeight before = mine;
  mine.add(weight, kernels);
  float* const sum = values_ + row * hidden_;
  if (before.total <= 0) {
    std::copy_n(values, hidden_, sum);
    return;
  }
  const float old_share = before.total * kernels.exponential(before.top - mine.top) / mine.total;
  const float new_share = weight.total * kernels.exponential(weight.top - mine.top) / mine.total;
  for (std::int64_t i = 0; i < hidden_; ++i) {
    sum[i] = old_share * sum[i] + new_share * values[i];
  }
}

ExpectationGroup::ExpectationGroup(const experts::Compute& compute, const experts::Matrix& embedding, std::int64_t rows)
    : compute_(compute),
      mixer_(compute, embedding),
      rows_(rows),
      hidden_(embedding.cols()),
      weights_(size(rows)),
      logits_(rows * kMostTokens),
      mixed_(rows * embedding.cols()) {}

void ExpectationGroup::open(std::int64_t first, std::int64_t count) {
  UNMASK_DCHECK(count <= kMostTokens, "a group of {} tokens", count);
  first_ = first;
  count_ = count;
  std::fill(weights_.begin(), weights_.end(), RangeWeight());
}

void ExpectationGroup::take(std::int64_t row, std::int64_t first, std::span<const float> logits, const RangeWeight& weight) {
  std::copy(logits.begin(), logits.end(), logits_.data() + row * count_ + first - first_);
  weights_[size(row)].add(weight, *compute_.kernels);
}

void ExpectationGroup::close(ExpectedEmbeddings& sums) {
  compute_.kernels->softmax(logits_.data(), rows_, count_);
  mixer_.mix({.x = logits_.data(), .rows = rows_, .first = first_, .count = count_, .y = mixed_.data()});
  for (std::int64_t row = 0; row < rows_; ++row) {
    sums.join(row, weights_[size(row)], mixed_.data() + row * hidden_, *compute_.kernels);
  }
}

}  // namespace unmask::runtime
