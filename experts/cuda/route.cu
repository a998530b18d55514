// SPDX-License-Identifier: Apache-2.0
// The router: norm, scores, softmax, the best experts, in one kernel.
//
//   block: 1 or 8 rows | norm: all threads, row by row -> shared | scores: a warp takes 4 or 8 experts at a time, its lanes
//   divide the inputs | softmax and choice: a warp for each row
//
// How many rows a block has changes who reads the weights how often, never the order of a row's sums.
#include "experts/cuda/kernels.h"
#include "experts/cuda/launch.cuh"
#include "experts/cuda/rows.cuh"

namespace unmask::experts::cuda {
namespace {

constexpr std::int64_t kFewRows = 256;      // up to here each row has a block, which reads all weights from the second cache
constexpr std::int64_t kChunk = 256;        // values that a warp takes at a time
constexpr unsigned kMostSharedBytes = 160 * 1024;

__host__ __device__ std::int64_t padded(std::int64_t hidden) { return (hidden + kChunk - 1) / kChunk * kChunk; }


/// A row of normed values in shared memory: the halves of a warp's pieces lie apart, so that its lanes read neighbours.
__device__ void put_aside(float* normed, std::int64_t at, const Piece& x) {
  float* const to = normed + at / kChunk * kChunk + at % kChunk / 2;
  *reinterpret_cast<float4*>(to) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
  *reinterpret_cast<float4*>(to + kChunk / 2) = make_float4(x.v[4], x.v[5], x.v[6], x.v[7]);
}

__device__ Piece take_back(const float* normed, std::int64_t at) {
  const float* const from = normed + at / kChunk * kChunk + at % kChunk / 2;
  const float4 a = *reinterpret_cast<const float4*>(from);
  const float4 b = *reinterpret_cast<const float4*>(from + kChunk / 2);
  return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}

/// Norms rows first .. first + rows - 1 into shared memory and the output; rows behind the real ones repeat the last.
template <unsigned rows>
__device__ void norm_rows(const RouterProblem& p, std::int64_t first, std::int64_t real, float* normed) {
  __shared__ float shared[rows][kRowWarps];
  float squares[rows];
#pragma unroll
  for (unsigned r = 0; r < rows; ++r) {
    const float* const x = p.x + min(first + r, real - 1) * p.hidden;
    squares[r] = 0.0F;
    for_pieces(p.hidden, [&](std::int64_t i) { add_squares(load_piece(x + i), squares[r]); });
  }
  block_sums(squares, shared);
#pragma unroll
  for (unsigned r = 0; r < rows; ++r) {
    const std::int64_t row = min(first + r, real - 1);
    const float scale = norm_scale(squares[r], p.hidden, p.eps);
    for_pieces(p.hidden, [&](std::int64_t i) {
      const Piece y = normed_piece(load_piece(p.x + row * p.hidden + i), scale, p.norm + i);
      put_aside(normed + r * padded(p.hidden), i, y);
      if (first + r < real) {
        store_piece(p.normed, row * p.hidden + i, y);
      }
    });
  }
}

/// scores[r, e] = normed[r] . weight[e]
template <unsigned rows, unsigned experts>
__device__ void score_rows(const RouterProblem& p, const float* normed, float* scores) {
  for (std::int64_t begin = warp_of_block() * experts; begin < p.num_experts; begin += std::int64_t{kRowWarps} * experts) {
    float sums[rows][experts] = {};
    for (std::int64_t i = lane_of_warp() * kPiece; i < p.hidden; i += kChunk) {
      Piece w[experts];
#pragma unroll
      for (unsigned e = 0; e < experts; ++e) {
        w[e] = load_piece(p.weight + min(begin + e, p.num_experts - 1) * p.hidden + i);
      }
#pragma unroll
      for (unsigned r = 0; r < rows; ++r) {
        const Piece x = take_back(normed + r * padded(p.hidden), i);
#pragma unroll
        for (unsigned e = 0; e < experts; ++e) {
#pragma unroll
          for (int j = 0; j < kPiece; ++j) {
            sums[r][e] = fmaf(x.v[j], w[e].v[j], sums[r][e]);
          }
        }
      }
    }
#pragma unroll
    for (unsigned r = 0; r < rows; ++r) {
#pragma unroll
      for (unsigned e = 0; e < experts; ++e) {
        const float sum = warp_sum(sums[r][e]);
        if (lane_of_warp() == 0 && begin + e < p.num_experts) {
          scores[r * p.num_experts + begin + e] = sum;
        }
      }
    }
  }
}

/// Softmax of a row, by a warp, in place.
__device__ void softmax(float* scores, std::int64_t count) {
  float most = -INFINITY;
  for (std::int64_t e = lane_of_warp(); e < count; e += kWarp) {
    most = fmaxf(most, scores[e]);
  }
  most = warp_max(most);
  float total = 0.0F;
  for (std::int64_t e = lane_of_warp(); e < count; e += kWarp) {
    scores[e] = expf(scores[e] - most);
    total = __fadd_rn(total, scores[e]);
  }
  total = warp_sum(total);
  for (std::int64_t e = lane_of_warp(); e < count; e += kWarp) {
    scores[e] = fabsf(scores[e] / total);  // what is not a number has no sign either: signs say what is chosen
  }
}

/// Scores in order as whole numbers. One that is chosen already has its sign set: 0; one that is not a number: 1.
__device__ unsigned key_of(float score) {
  const unsigned bits = __float_as_uint(score);
  return bits >> 31 != 0 ? 0U : bits > 0x7F800000U ? 1U : bits + 2U;
}

/// What the warp's lane has to offer: its best expert that is not chosen yet, the lowest of equal ones.
struct Offer {
  unsigned key = 0;
  unsigned expert = 0xFFFFFFFFU;
};

__device__ Offer best_offer(const float* scores, std::int64_t count) {
  Offer best;
  for (auto e = lane_of_warp(); e < count; e += kWarp) {
    if (const unsigned key = key_of(scores[e]); key > best.key) {
      best = {key, e};
    }
  }
  return best;
}

/// Sets the sign of the top_k best scores; returns the sum of them, taken by falling score.
__device__ float mark_best(float* scores, const RouterProblem& p) {
  float total = 0.0F;
  Offer mine = best_offer(scores, p.num_experts);
  for (std::int64_t i = 0; i < p.top_k; ++i) {
    const unsigned key = __reduce_max_sync(kAllLanes, mine.key);
    const unsigned expert = __reduce_min_sync(kAllLanes, mine.key == key ? mine.expert : 0xFFFFFFFFU);
    total = __fadd_rn(total, key == 1U ? __uint_as_float(0x7FC00000U) : __uint_as_float(key - 2U));
    if (mine.expert == expert) {
      scores[expert] = __uint_as_float(__float_as_uint(scores[expert]) | 0x80000000U);
      mine = best_offer(scores, p.num_experts);
    }
  }
  return total;
}

/// The chosen ones of a row, ascending by expert.
__device__ void write_chosen(const RouterProblem& p, std::int64_t row, const float* scores, float total) {
  std::int64_t before = 0;
  for (std::int64_t begin = 0; begin < p.num_experts; begin += kWarp) {
    const std::int64_t e = begin + lane_of_warp();
    const bool chosen = e < p.num_experts && __float_as_uint(scores[e]) >> 31 != 0;
    const unsigned all = __ballot_sync(kAllLanes, chosen);
    if (chosen) {
      const std::int64_t at = row * p.top_k + before + __popc(all & ((1U << lane_of_warp()) - 1U));
      const float score = fabsf(scores[e]);
      p.ids[at] = static_cast<std::int32_t>(e);
      p.weights[at] = p.renormalise ? score / total : score;
      if (p.counts != nullptr) {
        atomicAdd(reinterpret_cast<unsigned long long*>(p.counts + e), 1ULL);
      }
    }
    before += __popc(all);
  }
}

template <unsigned rows, unsigned experts>
__global__ void __launch_bounds__(kRowThreads, 2) route_kernel(const RouterProblem p) {
  float* const normed = dynamic_shared<float>();
  float* const scores = normed + rows * padded(p.hidden);
  const std::int64_t first = blockIdx.x * std::int64_t{rows};
  const std::int64_t real = *p.rows.real;
  const std::int64_t end = min(first + rows, p.rows.most);
  for (std::int64_t at = max(first, real) * p.top_k + threadIdx.x; at < end * p.top_k; at += kRowThreads) {
    p.ids[at] = -1;
    p.weights[at] = 0.0F;
  }
  if (first >= real) {
    return;
  }
  norm_rows<rows>(p, first, real, normed);
  __syncthreads();
  score_rows<rows, experts>(p, normed, scores);
  __syncthreads();
  for (std::int64_t r = warp_of_block(); r < rows && first + r < real; r += kRowWarps) {
    float* const mine = scores + r * p.num_experts;
    softmax(mine, p.num_experts);
    __syncwarp();
    write_chosen(p, first + r, mine, mark_best(mine, p));
  }
}

std::int64_t shared_bytes(const RouterProblem& p, std::int64_t rows) {
  return rows * (padded(p.hidden) + p.num_experts) * static_cast<std::int64_t>(sizeof(float));
}

}  // namespace

void route(const RouterProblem& problem, cudaStream_t stream) {
  constexpr unsigned kRows = 8;
  const std::int64_t many = shared_bytes(problem, kRows);
  if (problem.rows.most <= kFewRows || many > kMostSharedBytes) {
    launch(route_kernel<1, 8>,
           {.blocks = blocks_for(problem.rows.most), .threads = kRowThreads, .shared_bytes = static_cast<unsigned>(shared_bytes(problem, 1))},
           stream, problem);
  } else {
    launch(route_kernel<kRows, 4>,
           {.blocks = blocks_for((problem.rows.most + kRows - 1) / kRows), .threads = kRowThreads, .shared_bytes = static_cast<unsigned>(many)},
           stream, problem);
  }
}

}  // namespace unmask::experts::cuda
