// SPDX-License-Identifier: Apache-2.0
// Attention in bfloat16: a block takes up to 64 query rows of a head, a warp 16 of them, over all keys, 64 at a time. While it
// multiplies with one block of keys or values, the next is on its way:
//
//   copies:   keys 0, values 0 | keys 1 | values 1 | keys 2 ...
//   products:                  | scores 0 | weights 0 x values 0 | scores 1 ...
//
// Scores, their maximum and sums are float32 in registers; weights are rounded to bfloat16 for the product with the values.
#include "experts/cuda/attention_head.cuh"
#include "experts/cuda/instructions.cuh"
#include "experts/cuda/launch.cuh"

namespace unmask::experts::cuda {
namespace {

constexpr unsigned kAllLanes = 0xffffffffU;
constexpr int kThreads = 128;
constexpr int kRows = static_cast<int>(kAttentionRows);
static_assert(kRows == kThreads / static_cast<int>(kWarp) * 16);
constexpr float kLog2e = 1.44269504F;

/// dim: of a head, padded with zeros to the next size there is.
template <int dim>
struct Attention {
  static constexpr int kPieces = dim / 8;        // of 16 bytes
  static constexpr int kSwizzle = kPieces < 8 ? kPieces - 1 : 7;
  static constexpr int kUnrolled = dim > 128 ? 1 : 16;  // what spares the registers that 256 outputs leave
  static constexpr int kBlockValues = kKeyBlock * dim;
  static constexpr unsigned kSharedBytes = static_cast<unsigned>(kRows * dim + 4 * kBlockValues) * sizeof(bfloat16);

  // Of a warp's 16 rows, thread t has rows t / 4 and t / 4 + 8 (multiply_add).
  float out[static_cast<unsigned>(kPieces)][4] = {};
  float top[2] = {-INFINITY, -INFINITY};
  float total[2] = {};                           // of the thread's keys

  __device__ static bfloat16* piece_at(bfloat16* rows, int row, int piece) { return rows + row * dim + (piece ^ (row & kSwizzle)) * 8; }

  /// Copies 64 rows to shared memory; zeros past `count` rows and past the head's own values.
  __device__ static void copy_rows(bfloat16* to, const bfloat16* from, std::int64_t stride, int count, int head_dim) {
#pragma unroll kUnrolled
    for (int i = 0; i < kKeyBlock * kPieces / kThreads; ++i) {
      const int index = i * kThreads + static_cast<int>(threadIdx.x);
      const int row = index / kPieces;
      const int piece = index % kPieces;
      const bool real = row < count && piece * 8 < head_dim;
      copy_16(piece_at(to, row, piece), real ? from + row * stride + piece * 8 : from, real ? Fill::kCopy : Fill::kZero);
    }
  }

  using Scores = float[static_cast<unsigned>(kKeyBlock / 8)][4];

  __device__ static void score(bfloat16* q, bfloat16* keys, Scores& scores) {
    const int lane = static_cast<int>(threadIdx.x % kWarp);
    const int first_row = static_cast<int>(threadIdx.x / kWarp) * 16;
#pragma unroll
    for (auto& s : scores) {
      s[0] = s[1] = s[2] = s[3] = 0.0F;
    }
#pragma unroll kUnrolled
    for (int step = 0; step < dim / 16; ++step) {
      std::uint32_t a[4];
      load_matrices(a, piece_at(q, first_row + lane % 16, step * 2 + lane / 16));
#pragma unroll
      for (int i = 0; i < kKeyBlock / 16; ++i) {
        std::uint32_t b[4];
        load_matrices(b, piece_at(keys, i * 16 + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
        multiply_add(scores[2 * i], a, b[0], b[1]);
        multiply_add(scores[2 * i + 1], a, b[2], b[3]);
      }
    }
  }

  /// From scores of `count` keys to weights 2^(scale x score - top); what was gathered is brought to the new maximum.
  __device__ void weigh(Scores& scores, int count, float scale) {
    const int column = static_cast<int>(threadIdx.x % 4) * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float block_top = -INFINITY;
#pragma unroll
      for (int i = 0; i < kKeyBlock / 8; ++i) {
#pragma unroll
        for (int v = 0; v < 2; ++v) {
          float& s = scores[i][half * 2 + v];
          s = i * 8 + column + v < count ? __fmul_rn(s, scale) : -INFINITY;
          block_top = fmaxf(block_top, s);
        }
      }
      block_top = fmaxf(block_top, __shfl_xor_sync(kAllLanes, block_top, 1));
      block_top = fmaxf(block_top, __shfl_xor_sync(kAllLanes, block_top, 2));
      const float new_top = fmaxf(top[half], block_top);
      const float correction = fast_exp2(__fsub_rn(top[half], new_top));
      top[half] = new_top;
      float sum = 0.0F;
#pragma unroll
      for (int i = 0; i < kKeyBlock / 8; ++i) {
#pragma unroll
        for (int v = 0; v < 2; ++v) {
          float& s = scores[i][half * 2 + v];
          s = fast_exp2(__fsub_rn(s, new_top));
          sum = __fadd_rn(sum, s);
        }
      }
      total[half] = fmaf(total[half], correction, sum);
#pragma unroll
      for (auto& o : out) {
        o[half * 2] = __fmul_rn(o[half * 2], correction);
        o[half * 2 + 1] = __fmul_rn(o[half * 2 + 1], correction);
      }
    }
  }

  __device__ void add_values(const Scores& weights, bfloat16* values) {
    const int lane = static_cast<int>(threadIdx.x % kWarp);
#pragma unroll
    for (int step = 0; step < kKeyBlock / 16; ++step) {
      const float (&low)[4] = weights[2 * step];
      const float (&high)[4] = weights[2 * step + 1];
      const std::uint32_t a[4] = {narrow_pair(low[0], low[1]), narrow_pair(low[2], low[3]), narrow_pair(high[0], high[1]),
                                  narrow_pair(high[2], high[3])};
#pragma unroll
      for (int i = 0; i < dim / 16; ++i) {
        std::uint32_t b[4];
        load_matrices_transposed(b, piece_at(values, step * 16 + lane % 16, i * 2 + lane / 16));
        multiply_add(out[2 * i], a, b[0], b[1]);
        multiply_add(out[2 * i + 1], a, b[2], b[3]);
      }
    }
  }

  __device__ void write(const AttentionHead<bfloat16>& head, int head_dim) const {
    const int lane = static_cast<int>(threadIdx.x % kWarp);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = __fadd_rn(total[half], __shfl_xor_sync(kAllLanes, total[half], 1));
      sum = __fadd_rn(sum, __shfl_xor_sync(kAllLanes, sum, 2));
      const float inverse = __fdiv_rn(1.0F, sum);
      const int row = static_cast<int>(threadIdx.x / kWarp) * 16 + half * 8 + lane / 4;
      bfloat16* to = head.out + row * head.q_stride + lane % 4 * 2;
#pragma unroll
      for (int i = 0; i < kPieces; ++i) {
        if (row < head.rows && i * 8 < head_dim) {
          *reinterpret_cast<std::uint32_t*>(to + i * 8) =
              narrow_pair(__fmul_rn(out[i][half * 2], inverse), __fmul_rn(out[i][half * 2 + 1], inverse));
        }
      }
    }
  }
};

template <int dim>
__global__ void __launch_bounds__(kThreads) attend_kernel(AttentionProblem p) {
  if (static_cast<std::int64_t>(blockIdx.x) >= *p.num_tasks.real) {
    return;
  }
  using State = Attention<dim>;
  const auto head = my_head<bfloat16>(p);
  const int head_dim = static_cast<int>(p.head_dim);
  auto* const q = dynamic_shared<bfloat16>();
  bfloat16* const keys = q + kRows * dim;        // a ring of two, like
  bfloat16* const values = keys + 2 * State::kBlockValues;
  const int blocks = (head.length + kKeyBlock - 1) / kKeyBlock;
  const auto copy_block = [&](bfloat16* ring, const bfloat16* from, int block) {
    if (block < blocks) {
      State::copy_rows(ring + block % 2 * State::kBlockValues, from + static_cast<std::int64_t>(block) * kKeyBlock * head_dim, head_dim,
                       head.length - block * kKeyBlock, head_dim);
    }
    commit_copies();  // An empty group too: the waits below count groups.
  };
  State::copy_rows(q, head.q, head.q_stride, head.rows, head_dim);
  copy_block(keys, head.keys, 0);
  copy_block(values, head.values, 0);

  const bool busy = static_cast<int>(threadIdx.x / kWarp) * 16 < head.rows;
  State state;
  for (int block = 0; block < blocks; ++block) {
    typename State::Scores scores;
    wait_copies<1>();
    __syncthreads();  // These keys are there; those before are done with.
    copy_block(keys, head.keys, block + 1);
    if (busy) {
      State::score(q, keys + block % 2 * State::kBlockValues, scores);
      state.weigh(scores, head.length - block * kKeyBlock, __fmul_rn(p.scale, kLog2e));
    }
    wait_copies<1>();
    __syncthreads();
    copy_block(values, head.values, block + 1);
    if (busy) {
      state.add_values(scores, values + block % 2 * State::kBlockValues);
    }
  }
  wait_copies<0>();
  if (busy) {
    state.write(head, head_dim);
  }
}

template <int dim>
void launch_attention(const AttentionProblem& p, cudaStream_t stream) {
  launch(attend_kernel<dim>,
         {dim3(static_cast<unsigned>(p.num_tasks.most), static_cast<unsigned>(p.num_heads)), kThreads, Attention<dim>::kSharedBytes}, stream, p);
}

}  // namespace

void attend(const AttentionProblem& problem, cudaStream_t stream) {
  if (problem.q.precision == Precision::kFloat32) {
    attend_in_float(problem, stream);
  } else if (problem.head_dim <= 32) {
    launch_attention<32>(problem, stream);
  } else if (problem.head_dim <= 64) {
    launch_attention<64>(problem, stream);
  } else if (problem.head_dim <= 128) {
    launch_attention<128>(problem, stream);
  } else {
    launch_attention<256>(problem, stream);
  }
}

}  // namespace unmask::experts::cuda
