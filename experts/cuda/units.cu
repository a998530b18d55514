// SPDX-License-Identifier: Apache-2.0
// Sums of what experts computed: on the rank of the experts before anything returns, and on the rank of the rows.
// Both move memory and nothing else. A warp finds by itself, with the ids of the row in its lanes, what it has to add.
#include "experts/cuda/instructions.cuh"
#include "experts/cuda/kernels.h"
#include "experts/cuda/launch.cuh"

namespace unmask::experts::cuda {
namespace {

constexpr unsigned kAllLanes = 0xffffffffU;
constexpr std::int64_t kColumns = 4;  // of a thread at a time: as many reads under way

__device__ int lane() { return static_cast<int>(threadIdx.x % kWarp); }

__device__ float load(Inputs from, std::int64_t at) {
  return from.precision == Precision::kFloat32 ? static_cast<const float*>(from.data)[at]
                                               : widen(static_cast<const bfloat16*>(from.data)[at]);
}

__device__ void store(Outputs to, std::int64_t at, float value) {
  if (to.precision == Precision::kFloat32) {
    static_cast<float*>(to.data)[at] = value;
  } else {
    static_cast<bfloat16*>(to.data)[at] = narrow(value);
  }
}

__device__ float rounded(Precision precision, float value) {
  return precision == Precision::kFloat32 ? value : widen(narrow(value));
}

/// The segment that holds the row.
__device__ std::int32_t segment_of(const RowSegments& rows, std::int32_t row) {
  std::int32_t first = 0, last = rows.count;  // in [first, last)
  while (last - first > 1) {
    const std::int32_t middle = (first + last) / 2;
    (rows.begin[middle] <= row ? first : last) = middle;
  }
  return first;
}

/// A block for each (row, unit).
__global__ void sum_units_kernel(const UnitSumsProblem problem) {
  const auto row = static_cast<std::int32_t>(blockIdx.x);
  const SumUnit unit = problem.units[problem.first_unit + blockIdx.y];
  std::int32_t pair = -1;  // of lane j: of the row's j-th expert, if it is of the unit
  if (lane() < problem.top_k) {
    const std::int64_t place = row * problem.top_k + lane();
    const std::int32_t found = problem.pair_of[place];
    const std::int32_t local = found < 0 ? -1 : problem.local_of[problem.ids[place]];
    pair = local >= unit.begin && local < unit.end ? found : -1;
  }
  if (__ballot_sync(kAllLanes, pair >= 0) == 0) {
    return;
  }
  const std::int32_t segment = segment_of(problem.rows, row);
  const std::int32_t begin = problem.rows.begin[segment];
  const std::int64_t stride = problem.rows.begin[segment + 1] - begin;
  const std::int64_t place = unit.is_rounded != 0 ? problem.rows.rounded[segment] : problem.rows.plain[segment];
  const Outputs to = unit.is_rounded != 0 ? problem.rounded : Outputs{problem.plain, Precision::kFloat32};
  const std::int64_t out = (place + unit.index * stride + row - begin) * problem.hidden;
  const std::int64_t step = std::int64_t{blockDim.x} * kColumns;
  for (std::int64_t base = 0; base < problem.hidden; base += step) {
    float sums[kColumns] = {};
    for (int j = 0; j < problem.top_k; ++j) {
      const std::int64_t from = __shfl_sync(kAllLanes, pair, j);
      if (from >= 0) {
#pragma unroll
        for (std::int64_t i = 0; i < kColumns; ++i) {
          const std::int64_t column = base + i * blockDim.x + threadIdx.x;
          sums[i] = column < problem.hidden ? __fadd_rn(sums[i], problem.y[from * problem.hidden + column]) : 0.0F;
        }
      }
    }
#pragma unroll
    for (std::int64_t i = 0; i < kColumns; ++i) {
      if (const std::int64_t column = base + i * blockDim.x + threadIdx.x; column < problem.hidden) {
        store(to, out + column, sums[i]);
      }
    }
  }
}

/// The terms of a row, each once, ascending: the s-th in lane s. Returns how many.
__device__ int order_terms(const CombineProblem& problem, std::int64_t row, SumTerm& term) {
  constexpr std::int32_t kNone = 0x7fffffff;
  term = {kNone, 0, -1};
  if (lane() < problem.top_k) {
    term = problem.terms[problem.ids[row * problem.top_k + lane()]];
  }
  bool is_first = lane() < problem.top_k;  // of those of its unit
  for (int j = 0; j < problem.top_k; ++j) {
    const std::int32_t other = __shfl_sync(kAllLanes, term.order, j);
    is_first = is_first && !(j < lane() && other == term.order);
  }
  const unsigned firsts = __ballot_sync(kAllLanes, is_first);
  int place = 0;
  for (int j = 0; j < problem.top_k; ++j) {
    const std::int32_t other = __shfl_sync(kAllLanes, term.order, j);
    place += (firsts >> j & 1U) != 0 && other < term.order ? 1 : 0;
  }
  int source = 0;  // of lane s: where the s-th term is
  for (int j = 0; j < problem.top_k; ++j) {
    const int at = __shfl_sync(kAllLanes, place, j);
    source = (firsts >> j & 1U) != 0 && at == lane() ? j : source;
  }
  const std::int32_t index = __shfl_sync(kAllLanes, term.index, source);
  const std::int32_t group = __shfl_sync(kAllLanes, term.group, source);
  term = {0, index, group};
  return __popc(firsts);
}

/// A block for each row.
__global__ void combine_units_kernel(const CombineProblem problem) {
  const std::int64_t row = blockIdx.x;
  if (row >= *problem.rows.real) {
    return;
  }
  SumTerm mine;
  const int num_terms = order_terms(problem, row, mine);
  const Precision precision = problem.rounded.precision;
  const std::int64_t step = std::int64_t{blockDim.x} * kColumns;
  for (std::int64_t base = 0; base < problem.hidden; base += step) {
    float sums[kColumns] = {}, group_sums[kColumns] = {};
    for (int s = 0; s < num_terms; ++s) {
      const std::int32_t index = __shfl_sync(kAllLanes, mine.index, s);
      const std::int32_t group = __shfl_sync(kAllLanes, mine.group, s);
      const std::int32_t next = __shfl_sync(kAllLanes, mine.group, s + 1 < num_terms ? s + 1 : s);
      const bool ends = s + 1 == num_terms || next != group;  // its group
      const std::int64_t from = (index * problem.rows.most + row) * problem.hidden;
#pragma unroll
      for (std::int64_t i = 0; i < kColumns; ++i) {
        const std::int64_t column = base + i * blockDim.x + threadIdx.x;
        if (column >= problem.hidden) {
          continue;
        }
        if (group < 0) {
          sums[i] = __fadd_rn(sums[i], load(problem.rounded, from + column));
          continue;
        }
        group_sums[i] = __fadd_rn(group_sums[i], problem.plain[from + column]);
        if (ends) {
          sums[i] = __fadd_rn(sums[i], rounded(precision, group_sums[i]));
          group_sums[i] = 0;
        }
      }
    }
#pragma unroll
    for (std::int64_t i = 0; i < kColumns; ++i) {
      if (const std::int64_t column = base + i * blockDim.x + threadIdx.x; column < problem.hidden) {
        float& sum = problem.residual[row * problem.hidden + column];
        sum = __fadd_rn(sum, sums[i]);
      }
    }
  }
}

/// A thread for each row.
__global__ void count_traffic_kernel(const TrafficProblem problem) {
  const std::int64_t row = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  unsigned counts[4] = {};  // rows, rounded, plain, pairs
  for (std::int64_t j = 0; j < problem.top_k && row < *problem.rows.real; ++j) {
    const std::int32_t* ids = problem.ids + row * problem.top_k;
    const std::int32_t owner = problem.owner[ids[j]];
    const SumTerm term = problem.terms[ids[j]];
    bool is_new_rank = owner != problem.rank, is_new_unit = is_new_rank;
    counts[3] += is_new_rank ? 1U : 0U;
    for (std::int64_t i = 0; i < j; ++i) {
      is_new_rank = is_new_rank && problem.owner[ids[i]] != owner;
      is_new_unit = is_new_unit && problem.terms[ids[i]].order != term.order;
    }
    counts[0] += is_new_rank ? 1U : 0U;
    counts[term.group < 0 ? 1 : 2] += is_new_unit ? 1U : 0U;
  }
  unsigned long long* totals[] = {&problem.traffic->rows, &problem.traffic->rounded, &problem.traffic->plain, &problem.traffic->pairs};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    for (int bits = kWarp / 2; bits > 0; bits /= 2) {
      counts[i] += __shfl_xor_sync(kAllLanes, counts[i], bits);
    }
    if (lane() == 0 && counts[i] > 0) {
      atomicAdd(totals[i], static_cast<unsigned long long>(counts[i]));  // whole numbers: no order matters
    }
  }
}

/// As few warps as have columns to do, all of them in one go where a block may be so large.
unsigned threads_for(std::int64_t columns) {
  const std::int64_t warps = (columns + kColumns * kWarp - 1) / (kColumns * kWarp);
  return kWarp * static_cast<unsigned>(warps < 8 ? warps : 8);
}

}  // namespace

void sum_units(const UnitSumsProblem& problem, cudaStream_t stream) {
  const auto rows = static_cast<unsigned>(problem.rows.begin[problem.rows.count]);
  const auto units = static_cast<unsigned>(problem.last_unit - problem.first_unit);
  launch(sum_units_kernel, {.blocks = {rows, units, 1}, .threads = threads_for(problem.hidden)}, stream, problem);
}

void combine_units(const CombineProblem& problem, cudaStream_t stream) {
  launch(combine_units_kernel, {.blocks = {static_cast<unsigned>(problem.rows.most), 1, 1}, .threads = threads_for(problem.hidden)},
         stream, problem);
}

void count_traffic(const TrafficProblem& problem, cudaStream_t stream) {
  constexpr unsigned kThreads = 128;
  launch(count_traffic_kernel, {.blocks = {static_cast<unsigned>((problem.rows.most + kThreads - 1) / kThreads), 1, 1}, .threads = kThreads},
         stream, problem);
}

}  // namespace unmask::experts::cuda
