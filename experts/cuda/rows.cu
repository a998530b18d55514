// SPDX-License-Identifier: Apache-2.0
// Operations that read rows and write rows, a block for each: bound by memory, or by one round of its latency where rows are few.
#include "experts/cuda/kernels.h"
#include "experts/cuda/launch.cuh"
#include "experts/cuda/rows.cuh"

namespace unmask::experts::cuda {
namespace {

__global__ void __launch_bounds__(kRowThreads) embed_kernel(const EmbedProblem p) {
  const std::int64_t row = blockIdx.x;
  if (row >= *p.rows.real) {
    return;
  }
  const bfloat16* const embedding = p.embedding + p.tokens[row] * p.hidden;
  const std::int64_t place = p.places[row];
  const float weight = p.weights[row];
  for_pieces(p.hidden, [&](std::int64_t i) {
    Piece x = load_piece(embedding + i);
    if (place >= 0) {
      const Piece added = load_piece(p.added + place * p.hidden + i);
#pragma unroll
      for (int j = 0; j < kPiece; ++j) {
        x.v[j] = __fadd_rn(x.v[j], __fmul_rn(weight, added.v[j]));
      }
    }
    store_piece(p.residual + row * p.hidden + i, x);
  });
}

__global__ void __launch_bounds__(kRowThreads) rms_norm_kernel(const NormProblem p) {
  __shared__ float shared[1][kRowWarps];
  const std::int64_t row = blockIdx.x;
  if (row >= *p.rows.real) {
    return;
  }
  const float* const x = p.x + (p.picked == nullptr ? row : std::int64_t{p.picked[row]}) * p.cols;
  float squares[1] = {0.0F};
  for_pieces(p.cols, [&](std::int64_t i) { add_squares(load_piece(x + i), squares[0]); });
  block_sums(squares, shared);
  const float scale = norm_scale(squares[0], p.cols, p.eps);
  for_pieces(p.cols, [&](std::int64_t i) {  // read again, from the first cache
    store_piece(p.y, row * p.cols + i, normed_piece(load_piece(x + i), scale, p.weight + i));
  });
}

__global__ void __launch_bounds__(kRowThreads) gather_kernel(const GatherProblem p) {
  const std::int64_t row = blockIdx.x;
  if (row < *p.rows.real) {
    const float* const x = p.x + p.picked[row] * p.cols;
    for_pieces(p.cols, [&](std::int64_t i) { store_piece(p.y + row * p.cols + i, load_piece(x + i)); });
  }
}

__global__ void __launch_bounds__(kRowThreads) join_kernel(const JoinProblem p) {
  const std::int64_t row = blockIdx.x;
  if (row >= *p.rows.real) {
    return;
  }
  const std::int64_t a = p.a[row];
  const std::int64_t b = p.b[row];
  const float weight = p.weights[row];
  for_pieces(p.cols, [&](std::int64_t i) {
    Piece x = load_piece(p.x + a * p.cols + i);
    if (b >= 0) {
      const Piece other = load_piece(p.x + b * p.cols + i);
#pragma unroll
      for (int j = 0; j < kPiece; ++j) {
        x.v[j] = __fadd_rn(other.v[j], __fmul_rn(weight, __fsub_rn(x.v[j], other.v[j])));
      }
    }
    store_piece(p.y, row * p.cols + i, x);
  });
}

}  // namespace

void embed(const EmbedProblem& problem, cudaStream_t stream) {
  launch(embed_kernel, {.blocks = blocks_for(problem.rows.most), .threads = kRowThreads}, stream, problem);
}

void rms_norm(const NormProblem& problem, cudaStream_t stream) {
  launch(rms_norm_kernel, {.blocks = blocks_for(problem.rows.most), .threads = kRowThreads}, stream, problem);
}

void gather_rows(const GatherProblem& problem, cudaStream_t stream) {
  launch(gather_kernel, {.blocks = blocks_for(problem.rows.most), .threads = kRowThreads}, stream, problem);
}

void join_sides(const JoinProblem& problem, cudaStream_t stream) {
  launch(join_kernel, {.blocks = blocks_for(problem.rows.most), .threads = kRowThreads}, stream, problem);
}

}  // namespace unmask::experts::cuda
