// SPDX-License-Identifier: Apache-2.0
// The large operations of a pass on a GPU. Each function queues its work on a stream and returns; all pointers are of device
// memory, matrices row-major without padding. None waits, allocates, or reads a count on the host: how many rows are real
// stands in device memory (StepSizes), the host gives the most there can be, from which grids are made, so that a captured
// step can be replayed with other numbers. Rows past the real ones are never read by anybody else.
// Within a precision, a row's result depends on nothing but the row (DESIGN.md section 5).
#pragma once

#include <cstdint>

#include <cuda_runtime.h>

#include "base/bfloat16.h"
#include "experts/cuda/operands.h"
#include "experts/cuda/units.h"
#include "experts/weight_type.h"

namespace unmask::experts::cuda {

/// What a step holds, in device memory.
struct StepSizes {
  std::int32_t rows = 0;     ///< of the batch
  std::int32_t wanted = 0;   ///< rows whose logits somebody asks for
  std::int32_t tasks = 0;    ///< of attention in all layers but the last
  std::int32_t wanted_tasks = 0;  ///< and in the last
  std::int32_t joined = 0;   ///< rows that the head takes: one for the two of a guided position
};

/// residual[r] = embedding[tokens[r]] + (places[r] < 0 ? 0 : weights[r] * added[places[r]]).
struct EmbedProblem {
  const bfloat16* embedding;    ///< [vocab, hidden]
  std::int64_t hidden;
  Count rows;
  const std::int32_t* tokens;   ///< [rows]
  const std::int32_t* places;   ///< [rows]
  const float* weights;         ///< [rows]
  const float* added;           ///< [.., hidden]
  float* residual;              ///< [rows, hidden]
};
void embed(const EmbedProblem& problem, cudaStream_t stream);

/// y[i] = round(x[r] / sqrt(mean(x[r]^2) + eps) * weight), r = picked[i], or i where nothing is picked.
struct NormProblem {
  const float* x;               ///< [.., cols]
  std::int64_t cols;
  Count rows;                   ///< of y
  const std::int32_t* picked;   ///< [rows]; or null
  const float* weight;          ///< [cols]
  float eps;
  Outputs y;                    ///< [rows, cols]
};
void rms_norm(const NormProblem& problem, cudaStream_t stream);

/// y[i] = x[picked[i]], float32.
struct GatherProblem {
  const float* x;               ///< [.., cols]
  std::int64_t cols;
  Count rows;
  const std::int32_t* picked;   ///< [rows]
  float* y;                     ///< [rows, cols]; not x
};
void gather_rows(const GatherProblem& problem, cudaStream_t stream);

/// One sequence of the batch as attention sees it. Keys of position p of head h in layer l: keys + l * layer_stride +
/// h * head_stride + p * head_dim, values likewise (values of the precision).
struct DeviceSequence {
  void* keys;
  void* values;
  std::int64_t layer_stride;    ///< values; 0 where only the layer at hand is kept
  std::int64_t head_stride;
  std::int32_t length;          ///< positions that attention reads, from 0 on
  std::int32_t first_position;  ///< of row row_begin
  std::int32_t row_begin, row_end;
};

/// From projections to what attention reads: per head RMSNorm (queries, keys), rotation to the row's position (RoPE, halves in
/// pairs as experts::HeadProblem), rounding; keys and values go to the sequences' places.
///   qkv [rows, (num_heads + 2 num_kv_heads) * head_dim]: queries, keys, values; queries absent where q.data is null.
struct HeadsProblem {
  const float* qkv;
  std::int64_t num_heads, num_kv_heads, head_dim;
  std::int64_t layer;
  Count rows;
  const std::int32_t* sequence_of;   ///< [rows]: which of the sequences; null together with keys absent
  const std::int32_t* positions;     ///< [rows]
  const DeviceSequence* sequences;
  enum class Parts { kAll, kQueries, kKeysAndValues } parts = Parts::kAll;  ///< what qkv holds, in this order, and nothing else
  const float *q_norm, *k_norm;      ///< [head_dim]; null: none
  float eps;
  const float *cos, *sin;            ///< [positions, head_dim / 2]
  Outputs q;                         ///< [rows, num_heads, head_dim]
};
void prepare_heads(const HeadsProblem& problem, cudaStream_t stream);

/// Some query rows of one sequence: at most kAttentionRows of them.
inline constexpr std::int64_t kAttentionRows = 64;
struct AttentionTask {
  std::int32_t sequence;
  std::int32_t begin, end;      ///< of q
};

/// Bidirectional attention: out[i, h] = softmax(scale * q[i, h] . keys) values over all positions of the sequence, running softmax
/// over blocks of keys counted from position 0; keys and values as DeviceSequence says, of q's precision; float32 sums.
struct AttentionProblem {
  Inputs q;                     ///< [rows, num_heads, head_dim]
  std::int64_t num_heads, num_kv_heads, head_dim;
  std::int64_t layer;
  Count num_tasks;
  const AttentionTask* tasks;
  const DeviceSequence* sequences;
  float scale;
  Outputs out;                  ///< [rows, num_heads * head_dim], of q's precision
};
/// head_dim: a multiple of 8, at most 256.
void attend(const AttentionProblem& problem, cudaStream_t stream);

/// ids, weights = the top_k experts of softmax(normed(x) . weight^T), ascending by id; equal scores: the lowest expert, scores that
/// are not numbers come last. normed = RMSNorm as above, in float32 for the scores; also written rounded, for the experts.
/// Rows past the real ones get ids of -1, up to rows.most.
struct RouterProblem {
  const float* x;               ///< [rows, hidden]
  std::int64_t hidden;
  Count rows;
  const float* norm;            ///< [hidden]
  float eps;
  const bfloat16* weight;       ///< [num_experts, hidden]
  std::int64_t num_experts, top_k;  ///< at most kMostExperts, kMostTopK
  bool renormalise;             ///< the chosen weights are divided by their sum, taken by falling score
  Outputs normed;               ///< [rows, hidden]
  std::int32_t* ids;            ///< [rows.most, top_k]
  float* weights;               ///< [rows.most, top_k]
  std::int64_t* counts;         ///< [num_experts]: how many rows chose each, added to what is there; or null
};
inline constexpr std::int64_t kMostExperts = 1024;
inline constexpr std::int64_t kMostTopK = 32;
void route(const RouterProblem& problem, cudaStream_t stream);

/// The pairs (row, expert) of this rank's experts, ascending by (expert, row). Ids may come from other ranks: what is no expert is nobody's,
/// and what is not kNoExpert either is told of.
struct PairsProblem {
  const std::int32_t* ids;      ///< [rows, top_k], whatever the rank
  const float* weights;         ///< [rows, top_k]
  std::int64_t rows, top_k;     ///< all of them, padded ones too
  const std::int32_t* local_of; ///< [num_experts]: LocalExpert, or -1: another rank's
  std::int64_t num_experts, num_local;
  // Results:
  std::int32_t* offsets;        ///< [num_local + 1]: the pairs of each local expert
  std::int32_t* pair_rows;      ///< [pairs]
  float* pair_weights;          ///< [pairs]
  std::int32_t* pair_of;        ///< [rows, top_k]: which pair; -1: another rank's
  unsigned long long* wrong;    ///< raised to wrong_id() of the last place with an id that cannot be
  std::int32_t* cursors;        ///< workspace [pairs_workspace()]
};
inline constexpr std::int32_t kNoExpert = -1;  ///< of rows past the real ones
/// An id and its place in `ids` in one word; 0: none.
constexpr unsigned long long wrong_id(std::int64_t place, std::int32_t id) {
  return static_cast<unsigned long long>(place + 1) << 32 | static_cast<std::uint32_t>(id);
}
std::int64_t pairs_workspace(std::int64_t rows, std::int64_t top_k, std::int64_t num_local);
void sort_pairs(const PairsProblem& problem, cudaStream_t stream);

/// A matrix of each of a rank's experts, one behind the other: rows of bfloat16 without padding, or of int8 the panels of
/// experts/quantised.h, whose weights count as they are rounded to bfloat16.
struct ExpertMatrices {
  const void* data;
  WeightType type;
};

/// Who computes the experts' products of bfloat16: the bits of one are not those of the other.
enum class GroupedKernel {
  kMma,    ///< every device
  kWgmma,  ///< compute capability 9.0 alone
};

/// h[p] = round(silu(gate_e x[row_p]) * (up_e x[row_p])) for the pairs p of each local expert e.
struct GroupedGateUpProblem {
  Inputs x;                     ///< [rows, hidden]
  std::int64_t hidden, width;
  ExpertMatrices weights;       ///< [num_local, 2, width, hidden]: gate, up
  std::int64_t num_local;
  const std::int32_t* offsets;  ///< [num_local + 1]
  const std::int32_t* pair_rows;
  std::int64_t most_pairs;
  Outputs h;                    ///< [pairs, width], of x's precision
  GroupedKernel kernel = GroupedKernel::kMma;
};
void grouped_gate_up(const GroupedGateUpProblem& problem, cudaStream_t stream);

/// y[p] = round to float32(weight_p * (down_e h[p])).
struct GroupedDownProblem {
  Inputs h;                     ///< [pairs, width]
  std::int64_t hidden, width;
  ExpertMatrices weights;       ///< [num_local, hidden, width]
  std::int64_t num_local;
  std::int64_t first_expert, last_expert;  ///< only the local experts [first, last): a chunk
  const std::int32_t* offsets;
  const float* pair_weights;
  std::int64_t most_pairs;
  float* y;                     ///< [pairs, hidden]
  GroupedKernel kernel = GroupedKernel::kMma;
};
void grouped_down(const GroupedDownProblem& problem, cudaStream_t stream);

/// y[r, n] (+)= sum over k of x[r, k] * w[n, k]: the products of the parity mode, and where cuBLASLt does not keep the promise.
struct DenseProblem {
  Inputs x;                     ///< [rows, k]
  const bfloat16* w;            ///< [n, k]
  Count rows;
  std::int64_t n, k;            ///< k: a multiple of 8
  enum class Store { kWrite, kAdd } store = Store::kWrite;
  float* y;                     ///< [rows, n], stride y_stride
  std::int64_t y_stride;
};
void multiply(const DenseProblem& problem, cudaStream_t stream);

/// What the head's reducers ask of one row; mirrors runtime::HeadQuery.
struct DeviceQuery {
  std::int32_t excluded;        ///< never the best; -1: none
  std::int32_t apart_begin, apart_end;  ///< of `apart`: ascending tokens that do not count
  std::int32_t has_noise;
  std::uint32_t noise_key[2];   ///< base/random.h: philox's key
  std::uint32_t position, step;
  double temperature;
};
/// What they find; mirrors experts::TileSummary and runtime::Sample.
struct DeviceSummary {
  float top, others, best;
  std::int32_t top_token, best_token, finite;
  std::int32_t sample_token;    ///< -1: none
  float sample_logit;
  double sample_noised;
};
/// Reduces logits of tokens [first, first + count) of some rows: tiles of kHeadTile tokens counted from token 0, merged in order into
/// what `summaries` holds of the tokens before (first 0: nothing).
inline constexpr std::int64_t kHeadTile = 256;
struct HeadProblem {
  const float* logits;          ///< [rows, count], stride logits_stride
  std::int64_t logits_stride;
  Count rows;
  std::int64_t first, count;    ///< first: a multiple of kHeadTile
  const DeviceQuery* queries;   ///< [rows]
  const std::int32_t* apart;
  DeviceSummary* tiles;         ///< workspace [rows.most, whole(count, kHeadTile)]
  DeviceSummary* summaries;     ///< [rows]
  float* apart_logits;          ///< by place in `apart`
};
void summarise_tiles(const HeadProblem& problem, cudaStream_t stream);

/// Guidance in front of the head (runtime/guidance.h): y[i] = round(b[i] < 0 ? x[a[i]] : x[b[i]] + weight[i] * (x[a[i]] - x[b[i]])).
struct JoinProblem {
  const float* x;               ///< [.., cols]
  std::int64_t cols;
  Count rows;
  const std::int32_t *a, *b;    ///< [rows]
  const float* weights;         ///< [rows]
  Outputs y;                    ///< [rows, cols]
};
void join_sides(const JoinProblem& problem, cudaStream_t stream);

/// The expected embedding (runtime/expected_embedding.h) of rows over tokens [first, first + count): sums[r] joined with
/// softmax(logits[r]) . embedding as a running softmax; ranges of kExpectationTokens counted from token 0, in index order.
inline constexpr std::int64_t kExpectationTokens = 1024;
struct ExpectationProblem {
  const float* logits;          ///< [rows, count], stride logits_stride
  std::int64_t logits_stride;
  Count rows;
  std::int64_t first, count;    ///< first: a multiple of kExpectationTokens
  const bfloat16* embedding;    ///< [vocab, hidden], from token 0 on
  std::int64_t hidden;
  float* tops;                  ///< [rows] running: largest logit, and
  float* totals;                ///< sum of exp(logit - top); first 0: nothing yet
  float* sums;                  ///< [rows, hidden]: sum of exp(logit - top) * embedding
  float* workspace;             ///< [expectation_workspace()]
};
std::int64_t expectation_workspace(std::int64_t most_rows, std::int64_t count, std::int64_t hidden);
void add_expectation(const ExpectationProblem& problem, cudaStream_t stream);

}  // namespace unmask::experts::cuda
