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

ExpectedEmbeddings::ExpectedEmbeddings(const experts::Compute& compute, const experts::Matrix& embedding, std::int64_t rows,
                                       float* values)
    : compute_(compute),
      mixer_(compute, embedding),
      hidden_(embedding.cols()),
      values_(values),
      weights_(size(rows)),
      group_weights_(size(rows)),
      logits_(rows * kMostTokens),
      mixed_(rows * embedding.cols()) {}

void ExpectedEmbeddings::open(std::int64_t first, std::int64_t count) {
  UNMASK_DCHECK(count <= kMostTokens, "a group of {} tokens", count);
  first_ = first;
  count_ = count;
  std::fill(group_weights_.begin(), group_weights_.end(), RangeWeight());
}

void ExpectedEmbeddings::take(std::int64_t row, std::int64_t first, std::span<const float> logits, const RangeWeight& weight) {
  std::copy(logits.begin(), logits.end(), logits_.data() + row * count_ + first - first_);
  group_weights_[size(row)].add(weight, *compute_.kernels);
}

void ExpectedEmbeddings::close() {
  const auto rows = static_cast<std::int64_t>(weights_.size());
  compute_.kernels->softmax(logits_.data(), rows, count_);
  mixer_.mix({.x = logits_.data(), .rows = rows, .first = first_, .count = count_, .y = mixed_.data()});
  for (std::int64_t row = 0; row < rows; ++row) {
    join(row, group_weights_[size(row)], mixed_.data() + row * hidden_);
  }
}

void ExpectedEmbeddings::join(std::int64_t row, const RangeWeight& weight, const float* values) {
  RangeWeight& mine = weights_[size(row)];
  const RangeWeight before = mine;
  mine.add(weight, *compute_.kernels);
  float* const sum = values_ + row * hidden_;
  if (before.total <= 0) {
    std::copy_n(values, hidden_, sum);
    return;
  }
  const float old_share = before.total * compute_.kernels->exponential(before.top - mine.top) / mine.total;
  const float new_share = weight.total * compute_.kernels->exponential(weight.top - mine.top) / mine.total;
  for (std::int64_t i = 0; i < hidden_; ++i) {
    sum[i] = old_share * sum[i] + new_share * values[i];
  }
}

}  // namespace unmask::runtime
