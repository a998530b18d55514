// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cluster/expert_work.h"
#include "experts/expert_weights.h"
#include "experts/linear.h"

namespace unmask::bench {

struct ExpertShape {
  std::int64_t hidden = 2048;
  std::int64_t width = 1024;
  std::int64_t num_experts = 64;
  std::int64_t top_k = 8;
};

/// Experts in the layout that the kernels take, with values that differ everywhere and depend on the shape alone.
experts::ExpertWeights synthetic_experts(const ExpertShape& shape, const experts::Compute& compute,
                                         experts::WeightType type = experts::WeightType::kBf16);

/// Rows, each of which goes to top_k different experts, uniformly chosen; of these, the work of the experts `held` (all, where
/// none are named).
class SyntheticWork {
 public:
  SyntheticWork(const ExpertShape& shape, std::int64_t num_rows, std::span<const ExpertId> held = {});
  cluster::ExpertWork work() const;
  std::int64_t num_busy() const { return num_busy_; }  ///< experts with at least one row

 private:
  std::int64_t num_rows_;
  std::int64_t num_busy_ = 0;
  std::vector<float> rows_;
  std::vector<cluster::Assignment> assignments_;
};

}  // namespace unmask::bench
