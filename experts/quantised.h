// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bfloat16.h"
#include "experts/matrix.h"

namespace unmask::experts {

/// Weights of fewer bits: w = number * scale, symmetric, one bfloat16 scale for a group of inputs of one output
/// (docs/quantisation.md says why all this). Kernels that multiply floats take w as it is; for those that multiply bfloat16, w is
/// rounded to nearest, ties away from zero.
///
/// A panel of 16 outputs is one stream of blocks:
///
///   [scales: 2 groups][16 outputs] bfloat16, 64 bytes | tiles of 32 inputs x 16 outputs
///
///   int8: groups of 64, 4 tiles of 512 bytes: [16 pairs of inputs][2][16 outputs].
///   int4: groups of 32, 2 tiles of 256 bytes: [4][16 outputs] words, each of which holds eight inputs of an output, lowest
///         bits first. Numbers are in two's complement.
///
/// Scales of int4 have five significant bits, so that number * scale is a bfloat16 without rounding.
struct QuantisedForm {
  std::int64_t group;        ///< inputs that share a scale
  std::int64_t tile_bytes;   ///< of 32 inputs x 16 outputs
  std::int64_t block_tiles;  ///< tiles of two groups
  std::int64_t block_bytes() const { return kScaleBytes + block_tiles * tile_bytes; }
  static constexpr std::int64_t kScaleBytes = 64;
};

constexpr QuantisedForm quantised_form(WeightType type) {
  return type == WeightType::kInt8 ? QuantisedForm{.group = 64, .tile_bytes = 512, .block_tiles = 4}
                                   : QuantisedForm{.group = 32, .tile_bytes = 256, .block_tiles = 2};
}

/// Bytes of 16 outputs of `cols` inputs; inputs are padded with zeros to whole blocks.
std::int64_t quantised_panel_bytes(WeightType type, std::int64_t cols);

/// Bytes that a matrix of this type and shape holds, as Matrix::bytes().
std::int64_t stored_bytes(WeightType type, std::int64_t rows, std::int64_t cols);

/// Quantises panel p of `m` from its rows (16, or fewer at the end), row-major without padding, all finite. Panels may be
/// filled by different threads.
void quantise_panel(const bfloat16* stored, std::int64_t p, Matrix& m);

/// Rows [begin, end) of a quantised matrix, without padding, rounded; begin: a multiple of 16.
void expand_rows(const Matrix& m, std::int64_t begin, std::int64_t end, bfloat16* rows);
/// The same, exact.
void expand_rows(const Matrix& m, std::int64_t begin, std::int64_t end, float* rows);

/// "bf16", "int8", "int4".
std::string_view name_of(WeightType type);

/// Whether all scales in these whole panels are such as quantise_panel makes: no product overflows, vanishes or needs rounding
/// where it must not.
bool scales_are_valid(WeightType type, const std::byte* panels, std::int64_t num_bytes);

}  // namespace unmask::experts
