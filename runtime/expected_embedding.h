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

/// softmax(logits) . embeddings of some rows over a part of the vocabulary, grown range by range in index order (a running
/// softmax), so that no row's logits are kept for longer than a few tiles.
///
///   logits   | tile | tile | tile | tile |  a group of tiles: softmax within it, times the embeddings' rows (RowMixer),
///   embeddings  256    256    256    256    then joined to the sum so far, each weighed by its share
class ExpectedEmbeddings {
 public:
  static constexpr std::int64_t kMostTokens = 1024;  ///< of a group

  /// values [rows, hidden], undefined at first.
  ExpectedEmbeddings(const experts::Compute& compute, const experts::Matrix& embedding, std::int64_t rows, float* values);

  /// The next group, behind the last one: tokens first .. first + count - 1.
  void open(std::int64_t first, std::int64_t count);
  /// Logits of one row for tokens first .. of the group, and what they weigh.
  void take(std::int64_t row, std::int64_t first, std::span<const float> logits, const RangeWeight& weight);
  void close();

  /// Joins to one row the part of the vocabulary behind this one.
  void join_row(std::int64_t row, const ExpectedEmbeddings& next) { join(row, next.weights_[size(row)], next.values(row)); }

  const float* values(std::int64_t row) const { return values_ + row * hidden_; }

 private:
  void join(std::int64_t row, const RangeWeight& weight, const float* values);

  const experts::Compute& compute_;
  experts::RowMixer mixer_;
  std::int64_t hidden_;
  float* values_;
  std::vector<RangeWeight> weights_;        ///< [rows]
  std::int64_t first_ = 0, count_ = 0;      ///< tokens of the group
  std::vector<RangeWeight> group_weights_;  ///< [rows]
  AlignedBuffer<float> logits_;             ///< [rows, count]
  AlignedBuffer<float> mixed_;              ///< [rows, hidden]
};

}  // namespace unmask::runtime
