// SPDX-License-Identifier: Apache-2.0
#include "experts/cuda/float_products.cuh"
#include "experts/cuda/kernels.h"
#include "experts/cuda/launch.cuh"
#include "experts/cuda/tile_products.cuh"
#include "experts/cuda/tiled.h"

namespace unmask::experts::cuda {
namespace {

__device__ void store(const DenseProblem& p, std::int64_t row, std::int64_t output, float sum) {
  if (output < p.n) {
    float& y = p.y[row * p.y_stride + output];
    y = p.store == DenseProblem::Store::kAdd ? __fadd_rn(y, sum) : sum;
  }
}

template <class T>
__global__ void __launch_bounds__(T::kThreads, T::kBlocks) multiply_kernel(DenseProblem p) {
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * T::kRows;
  const std::int64_t first_output = static_cast<std::int64_t>(blockIdx.x) * T::kOutputs;
  const std::int64_t left = *p.rows.real - first_row;
  if (left <= 0) {
    return;
  }
  const int rows = left < T::kRows ? static_cast<int>(left) : T::kRows;
  const auto* x = static_cast<const bfloat16*>(p.x.data) + first_row * p.k;
  typename T::Sums sums;
  multiply_tile<T>(
      dynamic_shared<bfloat16>(), rows, static_cast<int>(p.k), [&](int i) { return i < rows ? x + i * p.k : nullptr; },
      [&](int i) { return first_output + i < p.n ? p.w + (first_output + i) * p.k : nullptr; }, sums);
  const bool pairs = p.n % 2 == 0 && p.y_stride % 2 == 0 && reinterpret_cast<std::uintptr_t>(p.y) % sizeof(float2) == 0;
  for_each_sum<T>(rows, [&](int row, int output, int i, int j, int v) {
    const std::int64_t r = first_row + row;
    const std::int64_t n = first_output + output;
    if (pairs && p.store == DenseProblem::Store::kWrite && n < p.n) {
      *reinterpret_cast<float2*>(p.y + r * p.y_stride + n) = make_float2(sums[i][j][v], sums[i][j][v + 1]);
    } else {
      store(p, r, n, sums[i][j][v]);
      store(p, r, n + 1, sums[i][j][v + 1]);
    }
  });
}

__global__ void __launch_bounds__(kFloatThreads) multiply_float_kernel(DenseProblem p) {
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * kFloatTile;
  const std::int64_t first_output = static_cast<std::int64_t>(blockIdx.x) * kFloatTile;
  const std::int64_t rows = *p.rows.real;
  if (first_row >= rows) {
    return;
  }
  const auto* x = static_cast<const float*>(p.x.data);
  float sums[kFloatSums];
  multiply_float_tile(
      static_cast<int>(p.k), [&](int i) { return first_row + i < rows ? x + (first_row + i) * p.k : nullptr; },
      [&](int i) { return first_output + i < p.n ? p.w + (first_output + i) * p.k : nullptr; }, sums);
  if (first_row + float_row() < rows) {
#pragma unroll
    for (int i = 0; i < kFloatSums; ++i) {
      store(p, first_row + float_row(), first_output + float_output(i), sums[i]);
    }
  }
}

dim3 grid_of(const DenseProblem& p, std::int64_t rows, std::int64_t outputs) {
  return dim3(static_cast<unsigned>(tiles_of(p.n, outputs)), static_cast<unsigned>(tiles_of(p.rows.most, rows)));
}

template <class T>
void launch_tiles(const DenseProblem& p, cudaStream_t stream) {
  launch(multiply_kernel<T>, {grid_of(p, T::kRows, T::kOutputs), T::kThreads, T::kSharedBytes}, stream, p);
}

}  // namespace

void multiply(const DenseProblem& problem, cudaStream_t stream) {
  multiply_by(choose_dense_tile(problem.rows.most, problem.n), problem, stream);
}

void multiply_by(TileSize tile, const DenseProblem& problem, cudaStream_t stream) {
  if (problem.x.precision == Precision::kFloat32) {
    launch(multiply_float_kernel, {grid_of(problem, kFloatTile, kFloatTile), kFloatThreads}, stream, problem);
    return;
  }
  switch (tile) {
    case TileSize::kFew:
      return launch_tiles<FewTile>(problem, stream);
    case TileSize::kNarrow:
      return launch_tiles<NarrowTile>(problem, stream);
    case TileSize::kWide:
      return launch_tiles<WideTile>(problem, stream);
  }
}

}  // namespace unmask::experts::cuda
