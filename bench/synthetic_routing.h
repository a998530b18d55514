// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/synthetic_experts.h"
#include "cluster/expert_work.h"
#include "cluster/placement.h"

namespace unmask::bench {

/// How rows choose experts.
struct Skew {
  enum class Kind { kUniform, kZipf, kOneRank, kRecorded };
  Kind kind = Kind::kUniform;
  double times = 1;  ///< kOneRank: rank 0 gets so many times the (token, expert) pairs of an average other rank, as far as top-k allows
  std::string name = "uniform";
};
/// "uniform", "zipf", a number from 1 on, or else the name of a file. Throws Error(kUsage).
Skew parse_skew(const std::string& text);

/// Rows of one rank and the experts that they choose. Every rank can make those of any other.
class SyntheticRows {
 public:
  SyntheticRows(const ExpertShape& shape, const cluster::Placement& placement, const Skew& skew, Rank rank, std::int64_t num_rows);
  /// The same rows with experts that were chosen elsewhere: ids [num_rows, top_k], ascending within a row.
  SyntheticRows(const ExpertShape& shape, Rank rank, std::vector<ExpertId> ids);

  std::span<const float> values() const { return values_; }  ///< [rows, hidden], bfloat16 values
  cluster::Routing routing() const;

 private:
  void weigh();
  void fill(const ExpertShape& shape, Rank rank, std::int64_t num_rows);

  std::int64_t top_k_;
  std::vector<float> values_;
  std::vector<ExpertId> ids_;
  std::vector<float> weights_;
};

}  // namespace unmask::bench
