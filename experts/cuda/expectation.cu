// SPDX-License-Identifier: Apache-2.0
// softmax(logits) . embedding, range by range of 1,024 tokens:
//
//   weigh   (row, range)                largest logit, terms exp(logit - largest), their sum
//   mix     (columns, rows, range)      terms times embedding: a block has 32 rows, so they share each read of the embedding
//   join    (row)                       the ranges' sums, in order, to what there was: a running softmax
//
// The ranges' sums lie in memory in between: for 32 rows an eighth of the bytes of the embedding's range, written and read.
#include "experts/cuda/kernels.h"
#include "experts/cuda/launch.cuh"
#include "experts/cuda/rows.cuh"

namespace unmask::experts::cuda {
namespace {

constexpr int kTerms = static_cast<int>(kExpectationTokens / kRowThreads);  // of a thread in weigh
constexpr int kRows = 8;                                                    // of a warp in mix
constexpr std::int64_t kBlockRows = 32;                                     // four warps' rows, and
constexpr std::int64_t kBlockColumns = 512;                                 // two warps' columns, a piece for each lane
constexpr int kTokens = 4;                                                  // read ahead

std::int64_t ranges_of(std::int64_t count) { return (count + kExpectationTokens - 1) / kExpectationTokens; }

/// What lies in the workspace.
struct Ranges {
  std::int64_t count, rows;
  float* terms;   // [ranges, rows, 1024]; 0 behind the last token
  float* tops;    // [ranges, rows]
  float* totals;  // [ranges, rows]
  float* sums;    // [ranges, rows, hidden]
};

Ranges ranges_in(const ExpectationProblem& p) {
  const std::int64_t count = ranges_of(p.count);
  const std::int64_t all = count * p.rows.most;
  const std::int64_t weights = (2 * all + kPiece - 1) / kPiece * kPiece;
  float* const tops = p.workspace + all * kExpectationTokens;
  return {.count = count, .rows = p.rows.most, .terms = p.workspace, .tops = tops, .totals = tops + all, .sums = tops + weights};
}

__device__ float block_max(float x, float* shared) {
  x = warp_max(x);
  if (lane_of_warp() == 0) {
    shared[warp_of_block()] = x;
  }
  __syncthreads();
  x = shared[0];
#pragma unroll
  for (int warp = 1; warp < kRowWarps; ++warp) {
    x = fmaxf(x, shared[warp]);
  }
  return x;
}

__global__ void __launch_bounds__(kRowThreads) weigh_kernel(const ExpectationProblem p, const Ranges ranges) {
  __shared__ float largest[kRowWarps];
  __shared__ float shared[1][kRowWarps];
  const std::int64_t row = blockIdx.x;
  const std::int64_t range = blockIdx.y;
  if (row >= *p.rows.real) {
    return;
  }
  const float nothing = -INFINITY;
  float logits[kTerms];
  float top = nothing;
#pragma unroll
  for (int i = 0; i < kTerms; ++i) {
    const std::int64_t at = range * kExpectationTokens + i * std::int64_t{kRowThreads} + threadIdx.x;
    logits[i] = at < p.count ? p.logits[row * p.logits_stride + at] : nothing;
    top = fmaxf(top, logits[i]);
  }
  top = block_max(top, largest);
  const std::int64_t place = range * ranges.rows + row;
  float sum[1] = {0.0F};
#pragma unroll
  for (int i = 0; i < kTerms; ++i) {
    const float term = expf(logits[i] - top);
    ranges.terms[place * kExpectationTokens + i * std::int64_t{kRowThreads} + threadIdx.x] = term;
    sum[0] = __fadd_rn(sum[0], term);
  }
  block_sums(sum, shared);
  if (threadIdx.x == 0) {
    ranges.tops[place] = top;
    ranges.totals[place] = sum[0];
  }
}

/// sums[r] += term[r] * embedding, for a warp's rows of one token.
__device__ void add_token(const float* const (&terms)[kRows], std::int64_t token, const Piece& embedding, Piece (&sums)[kRows]) {
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float term = terms[r][token];
#pragma unroll
    for (int j = 0; j < kPiece; ++j) {
      sums[r].v[j] = fmaf(term, embedding.v[j], sums[r].v[j]);
    }
  }
}

__global__ void __launch_bounds__(kRowThreads) mix_kernel(const ExpectationProblem p, const Ranges ranges) {
  const std::int64_t real = *p.rows.real;
  const std::int64_t first = blockIdx.y * kBlockRows + warp_of_block() / 2 * kRows;
  const std::int64_t column = blockIdx.x * kBlockColumns + (warp_of_block() % 2 * kWarp + lane_of_warp()) * kPiece;
  const std::int64_t range = blockIdx.z;
  if (first >= real || column >= p.hidden) {
    return;
  }
  const float* terms[kRows];  // rows behind the real ones repeat the last
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    terms[r] = ranges.terms + (range * ranges.rows + min(first + r, real - 1)) * kExpectationTokens;
  }
  Piece sums[kRows] = {};
  const std::int64_t begin = range * kExpectationTokens;
  const std::int64_t tokens = min(kExpectationTokens, p.count - begin);
  const bfloat16* const embedding = p.embedding + (p.first + begin) * p.hidden + column;
  std::int64_t token = 0;
  for (; token + kTokens <= tokens; token += kTokens) {
    Piece ahead[kTokens];
#pragma unroll
    for (int i = 0; i < kTokens; ++i) {
      ahead[i] = load_piece(embedding + (token + i) * p.hidden);
    }
#pragma unroll
    for (int i = 0; i < kTokens; ++i) {
      add_token(terms, token + i, ahead[i], sums);
    }
  }
  for (; token < tokens; ++token) {
    add_token(terms, token, load_piece(embedding + token * p.hidden), sums);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (first + r < real) {
      store_piece(ranges.sums + (range * ranges.rows + first + r) * p.hidden + column, sums[r]);
    }
  }
}

/// sum = sum * a + added * b
__device__ float joined(float sum, float a, float added, float b) { return __fadd_rn(__fmul_rn(sum, a), __fmul_rn(added, b)); }

__global__ void __launch_bounds__(kRowThreads) join_ranges_kernel(const ExpectationProblem p, const Ranges ranges) {
  const std::int64_t row = blockIdx.x;
  if (row >= *p.rows.real) {
    return;
  }
  const bool begins = p.first == 0;
  const float old_top = begins ? -INFINITY : p.tops[row];
  const float old_total = begins ? 0.0F : p.totals[row];
  float top = old_top, total = old_total;
  for_pieces(p.hidden, [&](std::int64_t i) {
    Piece sum = begins ? Piece{} : load_piece(p.sums + row * p.hidden + i);
    top = old_top;
    total = old_total;
    for (std::int64_t range = 0; range < ranges.count; ++range) {
      const std::int64_t place = range * ranges.rows + row;
      const Piece added = load_piece(ranges.sums + place * p.hidden + i);
      const float larger = fmaxf(top, ranges.tops[place]);
      const float a = expf(top - larger), b = expf(ranges.tops[place] - larger);
#pragma unroll
      for (int j = 0; j < kPiece; ++j) {
        sum.v[j] = joined(sum.v[j], a, added.v[j], b);
      }
      total = joined(total, a, ranges.totals[place], b);
      top = larger;
    }
    store_piece(p.sums + row * p.hidden + i, sum);
  });
  __syncthreads();  // all have read the old ones; thread 0 has a piece of any row
  if (threadIdx.x == 0) {
    p.tops[row] = top;
    p.totals[row] = total;
  }
}

}  // namespace

std::int64_t expectation_workspace(std::int64_t most_rows, std::int64_t count, std::int64_t hidden) {
  return ranges_of(count) * most_rows * (kExpectationTokens + 2 + hidden) + kPiece;
}

void add_expectation(const ExpectationProblem& problem, cudaStream_t stream) {
  const Ranges ranges = ranges_in(problem);
  const auto blocks = [](std::int64_t count, std::int64_t each) { return blocks_for((count + each - 1) / each); };
  launch(weigh_kernel, {.blocks = dim3(blocks_for(ranges.rows), blocks_for(ranges.count)), .threads = kRowThreads}, stream, problem, ranges);
  launch(mix_kernel, {.blocks = dim3(blocks(problem.hidden, kBlockColumns), blocks(ranges.rows, kBlockRows), blocks_for(ranges.count)),
                      .threads = kRowThreads}, stream, problem, ranges);
  launch(join_ranges_kernel, {.blocks = blocks_for(ranges.rows), .threads = kRowThreads}, stream, problem, ranges);
}

}  // namespace unmask::experts::cuda
