// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bfloat16.h"
#include "base/types.h"
#include "cluster/expert_work.h"
#include "experts/matrix.h"
#include "experts/precision.h"

namespace unmask::experts {

/// y[r, n] = sum over k of x[r, k] * w[n, k], for all rows and n in [n_begin, n_end).
struct GemmProblem {
  const float* x;         ///< [rows, k], stride x_stride
  std::int64_t x_stride;
  std::int64_t rows;
  const bfloat16* w;      ///< [n_end or more, k], without padding
  std::int64_t k;
  std::int64_t n_begin, n_end;
  float* y;               ///< y[r * y_stride + n]
  std::int64_t y_stride;
  Precision precision = Precision::kFloat32;  ///< of x: a family may round to it before it multiplies
};

/// y = round(x / sqrt(mean(x^2) + eps) * weight), per row; x and y may be the same.
struct NormProblem {
  const float* x;         ///< [rows, cols], stride x_stride
  std::int64_t x_stride;
  std::int64_t rows, cols;
  const float* weight;    ///< [cols]
  float eps;
  Precision precision;
  float* y;               ///< [rows, cols], stride y_stride
  std::int64_t y_stride;
};

/// One head of some rows on its way from projection to attention: RMSNorm, rotation to the row's position (RoPE, the halves of the
/// head in pairs: (a, b) -> (a cos - b sin, b cos + a sin)), rounding.
struct HeadProblem {
  const float* x;             ///< [rows, dim], stride x_stride
  std::int64_t x_stride;
  std::int64_t rows, dim;
  const float* norm;          ///< [dim]; null: none
  float eps;
  const float *cos, *sin;     ///< [positions, dim / 2]; null: no rotation
  const std::int64_t* positions;  ///< [rows]
  Precision precision;
  float* y;                   ///< [rows, dim]; or null, and then
  bfloat16* y16;              ///< the same in bfloat16, to which the precision has rounded
};

/// Bidirectional attention of some query rows of one head over all keys of its sequence.
struct AttentionProblem {
  const float* q;         ///< [rows, head_dim], stride q_stride
  std::int64_t q_stride;
  std::int64_t rows;
  const float* k;         ///< [num_keys, head_dim], stride kv_stride, counted from position 0; or null, and then
  const float* v;
  const bfloat16* k16 = nullptr;  ///< the same, stored in half the memory
  const bfloat16* v16 = nullptr;
  std::int64_t kv_stride;
  std::int64_t num_keys;
  std::int64_t head_dim;
  float scale;
  Precision precision;    ///< of the output
  float* out;             ///< [rows, head_dim], stride out_stride
  std::int64_t out_stride;
  std::byte* workspace = nullptr;  ///< [attention_workspace()], aligned to 64 bytes
};

/// What one tile of the vocabulary says of one row: enough to find the best token and its probability.
struct TileSummary {
  float top = 0;            ///< largest logit
  TokenId top_token = -1;   ///< its lowest token; -1: the tile has no token that counts
  float others = 0;         ///< sum of exp(logit - top) over the tile's other tokens
  float best = 0;           ///< largest logit but for the excluded token's
  TokenId best_token = -1;  ///< -1: none
  bool finite = true;       ///< every logit is a finite number
};

/// Summarises logits [count] of tokens first .. first+count-1. Tokens in `skip` (ascending) do not count at all; the
/// `excluded` one counts for top and others, but is never the best.
struct TileProblem {
  const float* logits;
  std::int64_t count;
  TokenId first;
  TokenId excluded;
  std::span<const TokenId> skip;
};

/// Rows on their way into panel products, as tiles [rows / 16][k / 32][16 rows][32 k] of PanelKernels::value_bytes each: bfloat16
/// to which they are rounded, or floats as they are. k is padded with zeros.
struct RowTilesProblem {
  const float* x;                        ///< [.., k], stride x_stride
  std::int64_t x_stride;
  const cluster::Assignment* picked;     ///< which rows of x, in this order; null: the first `rows`
  std::int64_t rows, k;
  std::byte* tiles;
};

/// The part of a panel product that all have in common: `rows` rows of row tiles, k inputs, panels [0, num_panels) from the
/// given ones on (Layout::kPanels). `next...` is what the same thread will multiply after this, to be prefetched; or null.
struct PanelWalk {
  const std::byte* x;
  std::int64_t rows, k;
  std::int64_t num_panels;
};

/// y[r, n] = sum over k of x[r, k] * w[n, k], for the walk's rows and `num_outputs` outputs from the first panel's first.
struct PanelGemmProblem {
  PanelWalk walk;
  const bfloat16* w;
  const bfloat16* next_w;
  std::int64_t num_outputs;
  float* y;                ///< y[r * y_stride + n]
  std::int64_t y_stride;
};

/// h = silu(gate x) * up x, rounded, straight into the row tiles of the product behind.
struct PanelGateUpProblem {
  PanelWalk walk;
  const bfloat16 *gate, *up;
  const bfloat16 *next_gate, *next_up;
  std::byte* h;               ///< row tiles of all `width` values; this call fills those of its panels
  std::int64_t width;
  std::int64_t first_panel;   ///< of h
  Precision precision;        ///< of h
};

/// slots[picked[r].slot, n] += round(picked[r].weight * sum over k of x[r, k] * w[n, k]); a row that begins its slot adds to zero.
struct PanelAddProblem {
  PanelWalk walk;
  const bfloat16* w;
  const bfloat16* next_w;
  std::int64_t num_outputs;
  const cluster::Assignment* picked;  ///< one per row
  const std::uint8_t* begins;         ///< one per row: not 0 where nobody has written to the slot before; null: nowhere
  float* slots;                       ///< slots[slot * stride + n]
  std::int64_t slots_stride;
};

/// PanelGateUpProblem with quantised weights (quantised.h), expanded on the way. Of `product`, the weights are not used.
struct QuantisedGateUpProblem {
  PanelGateUpProblem product;
  WeightType type;
  const std::byte *gate, *up;   ///< panels, one after the other
  bfloat16* workspace;          ///< [4 panels of k inputs], for families that do not expand in registers
};

/// PanelAddProblem with quantised weights.
struct QuantisedAddProblem {
  PanelAddProblem product;
  WeightType type;
  const std::byte* w;
  const std::byte* next_w;      ///< or null
  bfloat16* workspace;          ///< as above
};

/// Matrix products of families that take weights in panels.
struct PanelKernels {
  std::int64_t value_bytes;  ///< of an input in row tiles: 2 for bfloat16, 4 for float
  void (*tile_rows)(const RowTilesProblem&);
  void (*gemm)(const PanelGemmProblem&);
  void (*gate_up)(const PanelGateUpProblem&);
  void (*add_down)(const PanelAddProblem&);
  void (*gate_up_quantised)(const QuantisedGateUpProblem&);
  void (*add_down_quantised)(const QuantisedAddProblem&);
  bool rounds_weights = false;  ///< quantised ones become bfloat16 on the way; else numbers are multiplied, and sums of them scaled
};

/// Bytes of the tiles of so many rows of k inputs.
inline std::int64_t row_tiles_bytes(const PanelKernels& kernels, std::int64_t rows, std::int64_t k) {
  return whole(rows, kPanelRows) * panel_elements(k) * kernels.value_bytes;
}

/// One implementation of every kernel for some instruction set. Within a family a row's result depends on nothing but the
/// row: not on how many rows are beside it, nor on how a team divides the work. Functions are reentrant.
struct KernelFamily {
  std::string_view name;
  std::string_view needs;  ///< processor features, for people
  bool (*supported)();     ///< on this processor

  const PanelKernels* panels;  ///< null: weights stay in rows; else those of large products are packed (Matrix::pack)
  void (*gemm)(const GemmProblem&);  ///< of weights in rows
  void (*rms_norm)(const NormProblem&);
  void (*prepare_head)(const HeadProblem&);
  void (*attend)(const AttentionProblem&);
  /// Bytes in which attend() packs so many keys and their values; null: it needs none.
  std::int64_t (*attention_workspace)(std::int64_t num_keys, std::int64_t head_dim);
  /// h[i] = round(gate[i] / (1 + exp(-gate[i])) * up[i]) for i < count.
  void (*silu_multiply)(const float* gate, const float* up, std::int64_t count, Precision precision, float* h);
  /// Softmax over each row of x [rows, cols] (no padding), in place.
  void (*softmax)(float* x, std::int64_t rows, std::int64_t cols);
  /// y[i] += round(weight * x[i]) for i < count, in float32: product and sum are rounded one after the other.
  void (*add_weighted)(float weight, const float* x, std::int64_t count, float* y);
  TileSummary (*summarise)(const TileProblem&);
  float (*exponential)(float);

  /// What large products take: a family made for rounded inputs is of no use to the parity mode.
  Precision inputs = Precision::kFloat32;
  /// Rows of an expert over whose products its weights can be read unnoticed: with so many, reading them twice costs nothing.
  /// Measured with tiles; slower arithmetic needs fewer, but of that nothing has been measured.
  std::int64_t rows_that_hide_weights = 200;

  /// Where it is supported but slower than a family behind it, which is then what "auto" takes; null: nowhere.
  bool (*slow_here)() = nullptr;

  bool is_slow() const { return slow_here != nullptr && supported() && slow_here(); }
  bool serves(Precision precision) const { return inputs == Precision::kFloat32 || precision == Precision::kBfloat16; }
};

/// All families of this build, best first; the last one is the plainest and runs everywhere.
std::span<const KernelFamily* const> kernel_families();

/// Whether "auto" may take the family on this processor.
inline bool is_for_auto(const KernelFamily& family, Precision precision) {
  return family.serves(precision) && family.supported() && !family.is_slow();
}

/// "auto": the first family that is_for_auto(); else the family of that name.
/// Throws Error(kUsage) for a name that is unknown, unsupported or of no use here, saying what there is.
const KernelFamily& choose_kernel_family(std::string_view name, Precision precision);

/// How the family takes the weights of large products.
inline Layout layout_of(const KernelFamily& family) { return family.panels == nullptr ? Layout::kRows : Layout::kPanels; }

}  // namespace unmask::experts
