// SPDX-License-Identifier: Apache-2.0
// What a tile of the vocabulary says of a row (as experts/cpu/head.inc.h): a warp for each (row, tile), 8 logits in each lane.
#include "experts/cuda/head_merge.cuh"
#include "experts/cuda/kernels.h"
#include "experts/cuda/launch.cuh"
#include "experts/cuda/noise.cuh"
#include "experts/cuda/rows.cuh"

namespace unmask::experts::cuda {
namespace {

constexpr int kHalf = 4;  // a lane has values 4 lane .. + 3 of both halves of a tile, so that reads are of neighbours
constexpr int kValues = 2 * kHalf;
constexpr unsigned kNone = 0xFFFFFFFFU;

/// A tile's logits in a warp's registers.
struct Tile {
  float logit[kValues];
  unsigned counts = 0;   // bit j: logit j is one of the tile's, and not of a token apart
  std::int64_t first;    // token of the tile's first logit

  __device__ std::int32_t token(int j) const {
    const std::int64_t half = j < kHalf ? 0 : kHeadTile / 2;
    return static_cast<std::int32_t>(first + half + lane_of_warp() * kHalf + j % kHalf);
  }
};

/// -0 and 0 are the same; numbers in order, as whole numbers above 0.
__device__ unsigned order_of(float x) {
  const unsigned bits = __float_as_uint(x + 0.0F);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000U;
}

__device__ Tile load_tile(const HeadProblem& p, std::int64_t row, std::int64_t begin) {
  Tile tile;
  tile.first = p.first + begin;
  const float* const logits = p.logits + row * p.logits_stride;
  const bool aligned = reinterpret_cast<std::uintptr_t>(logits + begin) % sizeof(float4) == 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const std::int64_t at = begin + half * (kHeadTile / 2) + lane_of_warp() * kHalf;
    float* const to = tile.logit + half * kHalf;
    if (aligned && at + kHalf <= p.count) {
      const float4 four = *reinterpret_cast<const float4*>(logits + at);
      to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
      tile.counts |= 0xFU << half * kHalf;
      continue;
    }
#pragma unroll
    for (int j = 0; j < kHalf; ++j) {
      to[j] = at + j < p.count ? logits[at + j] : 0.0F;
      tile.counts |= at + j < p.count ? 1U << (half * kHalf + j) : 0U;
    }
  }
  return tile;
}

/// The first place in [begin, end) of `apart` with a token of at least `token`.
__device__ std::int32_t first_apart(const HeadProblem& p, std::int32_t begin, std::int32_t end, std::int64_t token) {
  while (begin < end) {
    const std::int32_t middle = begin + (end - begin) / 2;
    if (p.apart[middle] < token) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

/// Takes the tokens apart out of the tile, and hands their logits on.
__device__ void set_apart(const HeadProblem& p, const DeviceQuery& query, Tile& tile) {
  const std::int64_t end = min(tile.first + kHeadTile, p.first + p.count);
  for (std::int32_t i = first_apart(p, query.apart_begin, query.apart_end, tile.first); i < query.apart_end && p.apart[i] < end; ++i) {
    const std::int32_t apart = p.apart[i];
#pragma unroll
    for (int j = 0; j < kValues; ++j) {
      if (tile.token(j) == apart) {
        p.apart_logits[i] = tile.logit[j];
        tile.counts &= ~(1U << j);
      }
    }
  }
}

struct Best {
  float logit = 0.0F;
  std::int32_t token = -1;
};

/// The largest logit of those that count and are not of the excluded token (-1: none is), the lowest token of equal ones.
__device__ Best best_of(const Tile& tile, std::int32_t excluded) {
  unsigned order = 0;
  unsigned token = kNone;
  float logit = 0.0F;
#pragma unroll
  for (int j = 0; j < kValues; ++j) {  // tokens ascend within a lane
    const bool counts = (tile.counts >> j & 1U) != 0 && tile.token(j) != excluded;
    const unsigned mine = counts ? order_of(tile.logit[j]) : 0U;
    if (mine > order) {
      order = mine;
      token = static_cast<unsigned>(tile.token(j));
      logit = tile.logit[j];
    }
  }
  const unsigned most = __reduce_max_sync(kAllLanes, order);
  const unsigned lowest = __reduce_min_sync(kAllLanes, order == most ? token : kNone);
  const unsigned owner = __ballot_sync(kAllLanes, token == lowest && lowest != kNone);
  if (owner == 0) {
    return {};
  }
  return {__shfl_sync(kAllLanes, logit, __ffs(static_cast<int>(owner)) - 1), static_cast<std::int32_t>(lowest)};
}

/// Over the tile's tokens but the top one, whose term would drown the others.
__device__ float sum_of_others(const Tile& tile, const Best& top) {
  float sum = 0.0F;
#pragma unroll
  for (int j = 0; j < kValues; ++j) {
    const bool counts = (tile.counts >> j & 1U) != 0 && tile.token(j) != top.token;
    sum = __fadd_rn(sum, counts ? expf(tile.logit[j] - top.logit) : 0.0F);
  }
  return warp_sum(sum);
}

__device__ void find_sample(const Tile& tile, const DeviceQuery& query, DeviceSummary& summary) {
  Sample best;
#pragma unroll
  for (int j = 0; j < kValues; ++j) {
    if ((tile.counts >> j & 1U) != 0 && tile.token(j) != query.excluded) {
      best.take({noised(query, tile.token(j), tile.logit[j]), tile.logit[j], tile.token(j)});
    }
  }
  best = best_in_warp(best);
  summary.sample_token = best.token;
  summary.sample_logit = best.logit;
  summary.sample_noised = best.noised;
}

__device__ bool is_finite(const Tile& tile) {
  bool finite = true;
#pragma unroll
  for (float logit : tile.logit) {
    finite = finite && fabsf(logit) <= 3.402823466e+38F;
  }
  return __all_sync(kAllLanes, finite) != 0;
}

__global__ void __launch_bounds__(kRowThreads) tiles_kernel(const HeadProblem p, std::int64_t num_tiles, unsigned blocks_per_row) {
  const std::int64_t row = blockIdx.x / blocks_per_row;
  const std::int64_t number = std::int64_t{blockIdx.x % blocks_per_row} * kRowWarps + warp_of_block();
  if (row >= *p.rows.real || number >= num_tiles) {
    return;
  }
  const DeviceQuery query = p.queries[row];
  Tile tile = load_tile(p, row, number * kHeadTile);
  DeviceSummary summary = nothing_yet();
  summary.finite = is_finite(tile) ? 1 : 0;
  set_apart(p, query, tile);
  const Best top = best_of(tile, -1);
  const Best best = top.token != query.excluded ? top : best_of(tile, query.excluded);
  summary.top = top.logit;
  summary.top_token = top.token;
  summary.others = top.token < 0 || summary.finite == 0 ? 0.0F : sum_of_others(tile, top);
  summary.best = best.logit;
  summary.best_token = best.token;
  if (query.has_noise != 0) {
    find_sample(tile, query, summary);
  }
  if (lane_of_warp() == 0) {
    p.tiles[row * num_tiles + number] = summary;
  }
}

}  // namespace

void summarise_tiles(const HeadProblem& problem, cudaStream_t stream) {
  const std::int64_t num_tiles = (problem.count + kHeadTile - 1) / kHeadTile;
  const std::int64_t blocks_per_row = (num_tiles + kRowWarps - 1) / kRowWarps;
  launch(tiles_kernel, {.blocks = blocks_for(problem.rows.most * blocks_per_row), .threads = kRowThreads}, stream, problem, num_tiles,
         static_cast<unsigned>(blocks_per_row));
  merge_tiles(problem, num_tiles, stream);
}

}  // namespace unmask::experts::cuda
