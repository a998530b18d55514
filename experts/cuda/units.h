// SPDX-License-Identifier: Apache-2.0
// From what experts computed to the residual, over ranks: further operations of experts/cuda/kernels.h.
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "experts/cuda/operands.h"

namespace unmask::experts::cuda {

/// What the experts of one rank sum before anything returns (comm/nccl/unit_plan.h): the local experts [begin, end), ascending.
/// `rounded` to what travels; or plain float32, where the rank that owns the row goes on with the sum of the group.
struct SumUnit {
  std::int32_t begin, end;
  std::int32_t is_rounded;
  std::int32_t index;           ///< among this rank's units that are rounded, or among the plain ones
};
/// The rows of all ranks, one rank's behind another's, and where their sums go: the unit with an index of i of the row-th row of
/// segment s to row place[s] + i * (rows of s) + row of its array.
inline constexpr std::int64_t kMostSegments = 128;
struct RowSegments {
  std::int32_t count;
  std::int32_t begin[kMostSegments + 1];
  std::int32_t rounded[kMostSegments], plain[kMostSegments];  ///< places
};
/// sums = sum of y[pair] over the row's pairs in a unit, ascending by expert, from zero, in float32. Where a row has none, what
/// lay there stays.
struct UnitSumsProblem {
  const float* y;               ///< [pairs, hidden]
  std::int64_t hidden;
  std::int64_t top_k;
  const std::int32_t* ids;      ///< [rows, top_k]
  const std::int32_t* local_of; ///< [experts]
  const std::int32_t* pair_of;  ///< [rows, top_k]
  const SumUnit* units;
  std::int64_t first_unit, last_unit;  ///< units [first, last): a chunk
  RowSegments rows;
  Outputs rounded;              ///< [.., hidden]
  float* plain;                 ///< [.., hidden]
};
void sum_units(const UnitSumsProblem& problem, cudaStream_t stream);

/// What an expert's unit is to the row that chose it.
struct SumTerm {
  std::int32_t order;           ///< terms are added ascending by it; experts of one unit have the same
  std::int32_t index;           ///< of the unit, among the rounded or the plain ones of all ranks
  std::int32_t group;           ///< -1: a rounded unit; else plain: the terms of a group are summed from zero, rounded, then added
};
/// residual[r] += the sum from zero, in float32, of the terms of row r's experts.
struct CombineProblem {
  Inputs rounded;               ///< [rounded units of all ranks, rows.most, hidden]
  const float* plain;           ///< [plain units of all ranks, rows.most, hidden]
  std::int64_t hidden, top_k;
  Count rows;                   ///< this rank's own
  const std::int32_t* ids;      ///< [rows, top_k]
  const SumTerm* terms;         ///< [experts]
  float* residual;              ///< [rows, hidden]
};
void combine_units(const CombineProblem& problem, cudaStream_t stream);

/// What of an exchange this rank's rows could not do without, added to what is there.
struct Traffic {
  unsigned long long rows = 0;      ///< (row, other rank that holds experts of it)
  unsigned long long rounded = 0;   ///< (row, unit of another rank), rounded ones
  unsigned long long plain = 0;     ///< and plain ones
  unsigned long long pairs = 0;     ///< (row, expert of another rank)
};
struct TrafficProblem {
  Count rows;
  std::int64_t top_k;
  const std::int32_t* ids;      ///< [rows, top_k]
  const std::int32_t* owner;    ///< [experts]: rank
  std::int32_t rank;            ///< this one
  const SumTerm* terms;         ///< [experts]
  Traffic* traffic;
};
void count_traffic(const TrafficProblem& problem, cudaStream_t stream);

}  // namespace unmask::experts::cuda
