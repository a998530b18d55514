// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/aligned_buffer.h"
#include "experts/linear.h"

namespace unmask::experts {

/// Weighted sums of a matrix's rows: y[r, c] = sum over i of x[r, i] * w[first + i, c]. The matrix stays as it is, in rows; the
/// products want it the other way round, so a slice of its columns at a time is turned in a buffer that stays in the cache:
///
///   w [rows, cols]   ..|first ...... first + count|..   a slice of 256 columns -> [256, count], times x -> 256 columns of y
///
/// A row of y depends on its row of x alone. One mixer per thread.
class RowMixer {
 public:
  /// The matrix is in rows and outlives the mixer.
  RowMixer(const Compute& compute, const Matrix& w) : compute_(compute), w_(w) {}

  struct Problem {
    const float* x;      ///< [rows, count] without padding
    std::int64_t rows;
    std::int64_t first;  ///< row of w
    std::int64_t count;
    float* y;            ///< [rows, w.cols()] without padding
  };
  /// On the calling thread.
  void mix(const Problem& problem);

 private:
  void mix_panels(const Problem& problem);
  void mix_rows(const Problem& problem);

  const Compute& compute_;
  const Matrix& w_;
  AlignedBuffer<bfloat16> turned_;  ///< one slice
  AlignedBuffer<std::byte> tiles_;  ///< x as tiles of rows
};

}  // namespace unmask::experts
