// SPDX-License-Identifier: Apache-2.0
#include "runtime/micro_batch.h"

#include <algorithm>
#include <cstdlib>

namespace unmask::runtime {

bool runs_as_two(const MicroBatching& how, const comm::Census& census, const ModelConfig& config, const experts::KernelFamily& kernels) {
  // Faster ones are memory: there the exchange is work of the cores, behind which nothing can be hidden.
  constexpr double kSlowLink = 2e9;
  if (how.count != MicroBatching::Count::kAuto) {
    return how.count == MicroBatching::Count::kTwo;
  }
  const std::int64_t smaller = std::min(census.first_half, census.num_rows - census.first_half);
  const bool is_slow = how.link.bytes_per_second > 0 && how.link.bytes_per_second < kSlowLink;
  return is_slow && smaller * config.experts_per_token >= kernels.rows_that_hide_weights * config.num_experts;
}

BatchCut::BatchCut(const StepBatch& batch) : batch_(batch) {
  const std::int64_t all = batch.num_rows();
  for (std::size_t i = 1; i <= batch.sequences.size(); ++i) {
    const std::int64_t rows = batch.sequences[i - 1].row_end();
    if (std::abs(2 * rows - all) <= std::abs(2 * rows_ - all)) {
      sequences_ = i;
      rows_ = rows;
    }
  }
}

StepBatch BatchCut::half(std::size_t which) const {
  const std::int64_t begin = which == 0 ? 0 : rows_;
  const std::int64_t end = which == 0 ? rows_ : batch_.num_rows();
  StepBatch half;
  half.tokens.assign(batch_.tokens.begin() + begin, batch_.tokens.begin() + end);
  const auto cut = batch_.sequences.begin() + static_cast<std::ptrdiff_t>(sequences_);
  half.sequences.assign(which == 0 ? batch_.sequences.begin() : cut, which == 0 ? cut : batch_.sequences.end());
  for (auto& sequence : half.sequences) {
    sequence.row_begin -= begin;
  }
  for (const TokenRow row : batch_.wanted) {
    if (row.value >= begin && row.value < end) {
      half.wanted.emplace_back(row.value - begin);
    }
  }
  return half;
}

}  // namespace unmask::runtime
