// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/exchange.h"
#include "experts/grouped_experts.h"
#include "runtime/model_config.h"
#include "runtime/step_batch.h"

namespace unmask::runtime {

/// In how many parts the sequences of a pass go through the layers. Of two, one part's attention and experts hide the other's
/// transfers; each expert's weights are read for each of them. A row's result is its own, so no bit hangs on it.
struct MicroBatching {
  enum class Count { kAuto, kOne, kTwo } count = Count::kAuto;
  comm::LinkFacts link = {};  ///< from the start-up probe
};

/// The rule of kAuto. All ranks have the same census, so all of them decide alike.
bool runs_as_two(const MicroBatching& how, const comm::Census& census, const ModelConfig& config, const experts::KernelFamily& kernels);

/// Where a batch is cut in two: between sequences, for the rows of one read each other's keys and values. Each half has rows and
/// sequences of its own, numbered from 0 on.
class BatchCut {
 public:
  /// As even as the sequences allow.
  explicit BatchCut(const StepBatch& batch);

  std::int64_t first_half() const { return rows_; }  ///< rows
  StepBatch half(std::size_t which) const;

 private:
  const StepBatch& batch_;
  std::size_t sequences_ = 0;  ///< of the first half
  std::int64_t rows_ = 0;
};

/// Sequences on their way through the layers together.
struct MicroBatch {
  const StepBatch* batch;
  comm::Exchange* exchange;         ///< a layer of it is under way from dispatch to combine
  experts::GroupedExperts* experts; ///< which holds the slots as long
  std::int64_t begin;               ///< among the rows of the pass
  std::int64_t wanted_begin;        ///< among the wanted rows of the pass
  std::vector<TokenRow> all_rows;
  std::int64_t num_rows = 0;        ///< that the layer under way sent to experts
  bool is_under_way = false;        ///< between dispatch and combine
};

}  // namespace unmask::runtime
