// SPDX-License-Identifier: Apache-2.0
// Merging is a walk over the tiles in order, so that it does not matter in how many pieces the vocabulary comes. A warp takes 32
// tiles at a time: which of them raise the top, and every exponential, are found side by side; only the additions are a walk.
#include "experts/cuda/head_merge.cuh"
#include "experts/cuda/launch.cuh"

namespace unmask::experts::cuda {
namespace {

constexpr int kLanes = static_cast<int>(kWarp);

/// What the tiles so far say; the same in all lanes.
struct Running {
  float top = -INFINITY, others = 0.0F, best = -INFINITY;
  std::int32_t top_token = -1, best_token = -1;
  bool finite = true;
  Sample sample;
};

/// The largest value of this lane and those below.
__device__ float largest_so_far(float x) {
#pragma unroll
  for (unsigned by = 1; by < kWarp; by *= 2) {
    const float below = __shfl_up_sync(kAllLanes, x, by);
    x = lane_of_warp() >= by ? fmaxf(x, below) : x;
  }
  return x;
}

/// Replaces value and token by the first of the lanes' that is larger than all before it.
__device__ void take_largest(float mine, std::int32_t my_token, float& value, std::int32_t& token) {
  const float most = warp_max(mine);
  const unsigned owners = __ballot_sync(kAllLanes, mine == most && my_token >= 0);
  if (owners != 0 && (token < 0 || most > value)) {
    const int owner = __ffs(static_cast<int>(owners)) - 1;
    value = most;
    token = __shfl_sync(kAllLanes, my_token, owner);
  }
}

/// A tile t behind others with the top T and the sum S of the rest:  t's top is larger: S = t.others + (S + 1) exp(T - t.top);
/// else: S = S + (t.others + 1) exp(t.top - T). The first: S = t.others, as exp(-inf) = 0.
__device__ void add_others(const DeviceSummary& tile, float top, Running& all) {
  const float until_here = largest_so_far(top);
  const float below = __shfl_up_sync(kAllLanes, until_here, 1);
  const float before = lane_of_warp() == 0 ? all.top : fmaxf(all.top, below);
  const bool counts = tile.top_token >= 0;
  const bool raises = counts && top > before;
  const float factor = raises ? expf(before - top) : 0.0F;
  const float term = !counts ? 0.0F : raises ? tile.others : __fmul_rn(__fadd_rn(tile.others, 1.0F), expf(top - before));
  const unsigned raising = __ballot_sync(kAllLanes, raises);
#pragma unroll
  for (int i = 0; i < kLanes; ++i) {
    const float added = __shfl_sync(kAllLanes, term, i);
    if ((raising >> i & 1U) != 0) {
      all.others = __fadd_rn(added, __fmul_rn(__fadd_rn(all.others, 1.0F), __shfl_sync(kAllLanes, factor, i)));
    } else {
      all.others = __fadd_rn(all.others, added);
    }
  }
}

__device__ void add_tiles(const DeviceSummary& tile, Running& all) {
  const float top = tile.top_token >= 0 ? tile.top : -INFINITY;
  add_others(tile, top, all);
  take_largest(top, tile.top_token, all.top, all.top_token);
  take_largest(tile.best_token >= 0 ? tile.best : -INFINITY, tile.best_token, all.best, all.best_token);
  all.finite = all.finite && __all_sync(kAllLanes, tile.finite != 0) != 0;
  if (__any_sync(kAllLanes, tile.sample_token >= 0) != 0) {
    all.sample.take(best_in_warp({tile.sample_noised, tile.sample_logit, tile.sample_token}));
  }
}

__global__ void __launch_bounds__(kRowThreads) merge_kernel(const HeadProblem p, std::int64_t num_tiles) {
  const std::int64_t row = blockIdx.x * std::int64_t{kRowWarps} + warp_of_block();
  if (row >= *p.rows.real) {
    return;
  }
  const DeviceSummary* const tiles = p.tiles + row * num_tiles;
  const auto tile_at = [&](std::int64_t i) { return i < num_tiles ? tiles[i] : nothing_yet(); };
  Running all;
  if (p.first > 0) {
    const DeviceSummary& old = p.summaries[row];
    all.top = old.top_token >= 0 ? old.top : all.top;
    all.best = old.best_token >= 0 ? old.best : all.best;
    all.others = old.others;
    all.top_token = old.top_token;
    all.best_token = old.best_token;
    all.finite = old.finite != 0;
    all.sample = {old.sample_noised, old.sample_logit, old.sample_token};
  }
  DeviceSummary next = tile_at(lane_of_warp());
  for (std::int64_t begin = 0; begin < num_tiles; begin += kLanes) {
    const DeviceSummary tile = next;
    next = tile_at(begin + kLanes + lane_of_warp());  // on its way while these are added
    add_tiles(tile, all);
  }
  if (lane_of_warp() == 0) {
    p.summaries[row] = {.top = all.top_token >= 0 ? all.top : 0.0F, .others = all.others, .best = all.best_token >= 0 ? all.best : 0.0F,
                        .top_token = all.top_token, .best_token = all.best_token, .finite = all.finite ? 1 : 0,
                        .sample_token = all.sample.token, .sample_logit = all.sample.logit, .sample_noised = all.sample.noised};
  }
}

}  // namespace

void merge_tiles(const HeadProblem& problem, std::int64_t num_tiles, cudaStream_t stream) {
  launch(merge_kernel, {.blocks = blocks_for((problem.rows.most + kRowWarps - 1) / kRowWarps), .threads = kRowThreads}, stream, problem,
         num_tiles);
}

}  // namespace unmask::experts::cuda
