// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "experts/row_mixer.h"

namespace unmask::runtime {

/// How much a range of the vocabulary weighs for a row: total * exp(top) is the sum of exp(logit).
struct RangeWeight {
  float top = 0;
  float total = 0;  ///< 0: the range is empty

  void add(const RangeWeight& other, const experts::KernelFamily& kernels);
};

/// softmax(logits) . embeddings of some rows over a part of the vocabulary, grown range by range in index order: a running
/// softmax.
class ExpectedEmbeddings {
 public:
  /// values [rows, hidden], undefined at first.
  ExpectedEmbeddings(std::int64_t rows, std::int64_t hidden, float* values)
      : hidden_(hidden), values_(values), weights_(size(rows)) {}

  /// Joins to one row the range behind this one: its weight, and what is expected within it [hidden].
  void join(std::int64_t row, const RangeWeight& weight, const float* values, const experts::KernelFamily& kernels);
  void join(std::int64_t row, const ExpectedEmbeddings& next, const experts::KernelFamily& kernels) {
    join(row, next.weights_[size(row)], next.values(row), kernels);
  }

  const float* values(std::int64_t row) const { return values_ + row * hidden_; }

 private:
  std::int64_t hidden_;
  float* values_;
  std::vector<RangeWeight> weights_;  ///< [rows]
};

/// A few tiles of the vocabulary at a time: no row's logits are kept for longer, and the sums are read and written seldom.
///
///   logits   | tile | tile | tile | tile |  softmax within the group, times the embeddings' rows (RowMixer), then joined
///   embeddings  256    256    256    256    to the sums so far
///
/// One per thread, for one part of the vocabulary after the other.
class ExpectationGroup {
 public:
  static constexpr std::int64_t kMostTokens = 1024;

  ExpectationGroup(const experts::Compute& compute, const experts::Matrix& embedding, std::int64_t rows);

  /// Tokens first .. first + count - 1.
  void open(std::int64_t first, std::int64_t count);
  /// Logits of one row for tokens first .. of the group, and what they weigh.
  void take(std::int64_t row, std::int64_t first, std::span<const float> logits, const RangeWeight& weight);
  void close(ExpectedEmbeddings& sums);

 private:
  const experts::Compute& compute_;
  experts::RowMixer mixer_;
  std::int64_t rows_, hidden_;
  std::int64_t first_ = 0, count_ = 0;
  std::vector<RangeWeight> weights_;  ///< [rows]
  AlignedBuffer<float> logits_;       ///< [rows, count]
  AlignedBuffer<float> mixed_;        ///< [rows, hidden]
};

}  // namespace unmask::runtime
