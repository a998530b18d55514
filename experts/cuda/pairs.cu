// SPDX-License-Identifier: Apache-2.0
// The pairs (row, expert) by expert, then row: a counting sort. A row has an expert once, so that a pair's place among its expert's is
// the number of lower rows that have it: bits of a mask for each 32 rows and expert. Whole numbers only, so no order matters.
//
//   up to 256 rows   one block: masks, counts, offsets, places
//   more             count: a block per 256 rows -> cursors [segments, experts]; offsets: one block; place: a block per 256 rows
#include "experts/cuda/kernels.h"
#include "experts/cuda/launch.cuh"
#include "experts/cuda/rows.cuh"

namespace unmask::experts::cuda {
namespace {

constexpr std::int64_t kSegment = kRowThreads;  // rows of a block: one per thread, 32 per mask
constexpr int kAtOnce = 8;
constexpr int kLanes = static_cast<int>(kWarp);

std::int64_t segments_of(std::int64_t rows) { return (rows + kSegment - 1) / kSegment; }

/// The local expert of a place of the routing; -1: another rank's or nobody's.
__device__ std::int32_t local_at(const PairsProblem& p, std::int64_t place) {
  const std::int32_t id = p.ids[place];
  return id < 0 || id >= p.num_experts ? -1 : p.local_of[id];
}

/// Tells of an id that is neither an expert nor the mark of a row that is not real.
__device__ void look_at(const PairsProblem& p, std::int64_t place) {
  const std::int32_t id = p.ids[place];
  if (id < kNoExpert || id >= p.num_experts) {
    atomicMax(p.wrong, static_cast<unsigned long long>(place + 1) << 32 | static_cast<std::uint32_t>(id));
  }
}

/// act(place, row) for this thread's places of the routing of the block's rows; row: counted from the segment's first.
template <class Act>
__device__ void for_places(const PairsProblem& p, const Act& act) {
  const std::int64_t first = blockIdx.x * kSegment;
  const auto top_k = static_cast<unsigned>(p.top_k);
  const auto count = static_cast<unsigned>(min(p.rows - first, kSegment)) * top_k;
  for (unsigned i = threadIdx.x; i < count; i += kRowThreads) {
    act(first * p.top_k + i, static_cast<int>(i / top_k));
  }
}

/// masks [experts, 8]: of each warp's rows, which have the expert.
__device__ void build_masks(const PairsProblem& p, unsigned* masks) {
  for (std::int64_t i = threadIdx.x; i < p.num_local * kRowWarps; i += kRowThreads) {
    masks[i] = 0;
  }
  __syncthreads();
  for_places(p, [&](std::int64_t place, int row) {
    if (const std::int32_t local = local_at(p, place); local >= 0) {
      atomicOr(&masks[local * kRowWarps + row / kLanes], 1U << row % kLanes);
    }
  });
  __syncthreads();
}

__device__ std::int32_t rows_with(const unsigned* masks, std::int64_t expert) {
  std::int32_t count = 0;
#pragma unroll
  for (int i = 0; i < kRowWarps; ++i) {
    count += __popc(masks[expert * kRowWarps + i]);
  }
  return count;
}

/// Places the segment's pairs: an expert's first at first_of(expert).
template <class FirstOf>
__device__ void place_pairs(const PairsProblem& p, const unsigned* masks, const FirstOf& first_of) {
  for_places(p, [&](std::int64_t place, int row) {
    look_at(p, place);
    const std::int32_t local = local_at(p, place);
    if (local < 0) {
      p.pair_of[place] = -1;
      return;
    }
    std::int32_t pair = first_of(local);
    for (int i = 0; i < row / kLanes; ++i) {
      pair += __popc(masks[local * kRowWarps + i]);
    }
    pair += __popc(masks[local * kRowWarps + row / kLanes] & ((1U << row % kLanes) - 1U));
    p.pair_of[place] = pair;
    p.pair_rows[pair] = static_cast<std::int32_t>(blockIdx.x * kSegment + row);
    p.pair_weights[pair] = p.weights[place];
  });
}

/// Offsets of all experts from their counts, by the block's first warp.
template <class CountOf>
__device__ void write_offsets(const PairsProblem& p, const CountOf& count_of) {
  if (warp_of_block() != 0) {
    return;
  }
  std::int32_t before = 0;
  for (std::int64_t begin = 0; begin < p.num_local; begin += kWarp) {
    const std::int64_t expert = begin + lane_of_warp();
    const std::int32_t count = expert < p.num_local ? count_of(expert) : 0;
    std::int32_t sum = count;  // with those of the lanes below
#pragma unroll
    for (unsigned by = 1; by < kWarp; by *= 2) {
      const std::int32_t below = __shfl_up_sync(kAllLanes, sum, by);
      sum += lane_of_warp() >= by ? below : 0;
    }
    if (expert < p.num_local) {
      p.offsets[expert] = before + sum - count;
    }
    before += __shfl_sync(kAllLanes, sum, kWarp - 1);
  }
  if (lane_of_warp() == 0) {
    p.offsets[p.num_local] = before;
  }
}

__global__ void __launch_bounds__(kRowThreads) sort_at_once_kernel(const PairsProblem p) {
  unsigned* const masks = dynamic_shared<unsigned>();
  build_masks(p, masks);
  write_offsets(p, [&](std::int64_t expert) { return rows_with(masks, expert); });
  __syncthreads();
  place_pairs(p, masks, [&](std::int64_t expert) { return p.offsets[expert]; });
}

__global__ void __launch_bounds__(kRowThreads) count_kernel(const PairsProblem p) {
  unsigned* const masks = dynamic_shared<unsigned>();
  build_masks(p, masks);
  for (std::int64_t expert = threadIdx.x; expert < p.num_local; expert += kRowThreads) {
    p.cursors[blockIdx.x * p.num_local + expert] = rows_with(masks, expert);
  }
}

/// cursors [segments, experts]: counts become the pairs of the segments before; counts [experts] in shared memory: of all.
__global__ void __launch_bounds__(kRowThreads) offsets_kernel(const PairsProblem p, std::int64_t segments) {
  std::int32_t* const counts = dynamic_shared<std::int32_t>();
  for (std::int64_t expert = threadIdx.x; expert < p.num_local; expert += kRowThreads) {
    std::int32_t before = 0;
    for (std::int64_t begin = 0; begin < segments; begin += kAtOnce) {
      std::int32_t here[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        here[i] = begin + i < segments ? p.cursors[(begin + i) * p.num_local + expert] : 0;
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        if (begin + i < segments) {
          p.cursors[(begin + i) * p.num_local + expert] = before;
          before += here[i];
        }
      }
    }
    counts[expert] = before;
  }
  __syncthreads();
  write_offsets(p, [&](std::int64_t expert) { return counts[expert]; });
}

__global__ void __launch_bounds__(kRowThreads) place_kernel(const PairsProblem p) {
  unsigned* const masks = dynamic_shared<unsigned>();
  build_masks(p, masks);
  const std::int32_t* const before = p.cursors + blockIdx.x * p.num_local;
  place_pairs(p, masks, [&](std::int64_t expert) { return p.offsets[expert] + before[expert]; });
}

}  // namespace

std::int64_t pairs_workspace(std::int64_t rows, std::int64_t, std::int64_t num_local) { return segments_of(rows) * num_local; }

void sort_pairs(const PairsProblem& problem, cudaStream_t stream) {
  const std::int64_t segments = segments_of(problem.rows);
  const auto masks_bytes = static_cast<unsigned>(problem.num_local * kRowWarps * static_cast<std::int64_t>(sizeof(unsigned)));
  if (segments <= 1) {  // without any row there are still offsets
    launch(sort_at_once_kernel, {.blocks = 1, .threads = kRowThreads, .shared_bytes = masks_bytes}, stream, problem);
    return;
  }
  const Grid each{.blocks = blocks_for(segments), .threads = kRowThreads, .shared_bytes = masks_bytes};
  launch(count_kernel, each, stream, problem);
  launch(offsets_kernel, {.blocks = 1, .threads = kRowThreads, .shared_bytes = masks_bytes / kRowWarps}, stream, problem, segments);
  launch(place_kernel, each, stream, problem);
}

}  // namespace unmask::experts::cuda
