// SPDX-License-Identifier: Apache-2.0
// From projections to what attention reads: a warp for each (row, head), its values in registers.
#include "experts/cuda/kernels.h"
#include "experts/cuda/launch.cuh"
#include "experts/cuda/rows.cuh"

namespace unmask::experts::cuda {
namespace {

constexpr int kMostPairs = 2;  // float2 of each half of a head that a lane holds: heads of up to 256 values
constexpr int kStep = 2 * static_cast<int>(kWarp);

/// A head in a warp's registers: lane t has values 2t, 2t + 1 of each 64 of both halves.
struct Head {
  float2 low[kMostPairs], high[kMostPairs];
};

/// act(j, i): this lane's j-th pairs, of values i, i + 1 of the halves.
template <class Act>
__device__ void for_pairs(int half, const Act& act) {
#pragma unroll
  for (int j = 0; j < kMostPairs; ++j) {
    const int i = j * kStep + 2 * static_cast<int>(lane_of_warp());
    if (i < half) {
      act(j, i);
    }
  }
}

__device__ float2 load_two(const float* from) { return *reinterpret_cast<const float2*>(from); }

__device__ void store_two(const Outputs& to, std::int64_t at, float2 x) {
  if (to.precision == Precision::kFloat32) {
    *reinterpret_cast<float2*>(static_cast<float*>(to.data) + at) = x;
  } else {
    *reinterpret_cast<std::uint32_t*>(static_cast<bfloat16*>(to.data) + at) = narrow_pair(x.x, x.y);
  }
}

__device__ float2 product(float2 x, float scale, float2 weight) {
  return make_float2(__fmul_rn(__fmul_rn(x.x, scale), weight.x), __fmul_rn(__fmul_rn(x.y, scale), weight.y));
}

__device__ void normalise(Head& head, int half, const float* weight, float eps) {
  float squares = 0.0F;
  for_pairs(half, [&](int j, int) {
    squares = fmaf(head.low[j].x, head.low[j].x, squares);
    squares = fmaf(head.low[j].y, head.low[j].y, squares);
    squares = fmaf(head.high[j].x, head.high[j].x, squares);
    squares = fmaf(head.high[j].y, head.high[j].y, squares);
  });
  const float scale = norm_scale(warp_sum(squares), std::int64_t{2} * half, eps);
  for_pairs(half, [&](int j, int i) {
    head.low[j] = product(head.low[j], scale, load_two(weight + i));
    head.high[j] = product(head.high[j], scale, load_two(weight + half + i));
  });
}

/// (a, b) -> (a cos - b sin, b cos + a sin), products and sums rounded one after the other.
__device__ void rotate(Head& head, int half, const float* cos_of_row, const float* sin_of_row) {
  for_pairs(half, [&](int j, int i) {
    const float2 c = load_two(cos_of_row + i), s = load_two(sin_of_row + i);
    const float2 a = head.low[j], b = head.high[j];
    head.low[j] = make_float2(__fsub_rn(__fmul_rn(a.x, c.x), __fmul_rn(b.x, s.x)), __fsub_rn(__fmul_rn(a.y, c.y), __fmul_rn(b.y, s.y)));
    head.high[j] = make_float2(__fadd_rn(__fmul_rn(b.x, c.x), __fmul_rn(a.x, s.x)), __fadd_rn(__fmul_rn(b.y, c.y), __fmul_rn(a.y, s.y)));
  });
}

enum class Kind { kQuery, kKey, kValue };

/// Where a head of a row goes.
struct Target {
  Outputs to;
  std::int64_t at;
};

__device__ Target target_of(const HeadsProblem& p, std::int64_t row, Kind kind, std::int64_t head) {
  if (kind == Kind::kQuery) {
    return {p.q, (row * p.num_heads + head) * p.head_dim};
  }
  const DeviceSequence& sequence = p.sequences[p.sequence_of[row]];
  return {{kind == Kind::kKey ? sequence.keys : sequence.values, p.q.precision},
          p.layer * sequence.layer_stride + head * sequence.head_stride + p.positions[row] * p.head_dim};
}

/// heads: of a row in qkv, the first `queries` of them queries.
__global__ void __launch_bounds__(kRowThreads) prepare_kernel(const HeadsProblem p, unsigned heads, unsigned queries) {
  const unsigned task = blockIdx.x * kRowWarps + warp_of_block();  // divided in 32 bits: four times as fast
  const std::int64_t row = task / heads;
  if (row >= *p.rows.real) {
    return;
  }
  const unsigned place = task % heads;
  const auto kv_heads = static_cast<unsigned>(p.num_kv_heads);
  const Kind kind = place < queries ? Kind::kQuery : place < queries + kv_heads ? Kind::kKey : Kind::kValue;
  const unsigned number = kind == Kind::kQuery ? place : kind == Kind::kKey ? place - queries : place - queries - kv_heads;
  const float* const x = p.qkv + (row * heads + place) * p.head_dim;
  const int half = static_cast<int>(p.head_dim) / 2;
  Head head;
  for_pairs(half, [&](int j, int i) {
    head.low[j] = load_two(x + i);
    head.high[j] = load_two(x + half + i);
  });
  const float* const norm = kind == Kind::kQuery ? p.q_norm : p.k_norm;
  if (kind != Kind::kValue) {
    if (norm != nullptr) {
      normalise(head, half, norm, p.eps);
    }
    const std::int64_t at = p.positions[row] * std::int64_t{half};
    rotate(head, half, p.cos + at, p.sin + at);
  }
  const Target target = target_of(p, row, kind, number);
  for_pairs(half, [&](int j, int i) {
    store_two(target.to, target.at + i, head.low[j]);
    store_two(target.to, target.at + half + i, head.high[j]);
  });
}

}  // namespace

void prepare_heads(const HeadsProblem& problem, cudaStream_t stream) {
  const std::int64_t queries = problem.parts == HeadsProblem::Parts::kKeysAndValues ? 0 : problem.num_heads;
  const std::int64_t heads = queries + (problem.parts == HeadsProblem::Parts::kQueries ? 0 : 2 * problem.num_kv_heads);
  const std::int64_t tasks = problem.rows.most * heads;
  launch(prepare_kernel, {.blocks = blocks_for((tasks + kRowWarps - 1) / kRowWarps), .threads = kRowThreads}, stream, problem,
         static_cast<unsigned>(heads), static_cast<unsigned>(queries));
}

}  // namespace unmask::experts::cuda
