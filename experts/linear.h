// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "base/aligned_buffer.h"
#include "base/thread_team.h"
#include "experts/kernels.h"
#include "experts/matrix.h"

namespace unmask::experts {

/// The team and the kernels of one rank: what every large operation needs.
struct Compute {
  const KernelFamily* kernels;
  ThreadTeam* team;
  Precision precision;
};

/// Rows to be multiplied with a matrix, made ready once for its layout and shared by all tasks: x must outlive it.
class LinearInput {
 public:
  /// x [rows, w.cols()] without padding; divided among the team.
  LinearInput(const Compute& compute, const float* x, std::int64_t rows, const Matrix& w);

  /// A piece of the product: y[(r - row_begin) * y_stride + n - n_begin], both begins multiples of 16.
  struct Piece {
    std::int64_t row_begin, row_end;
    std::int64_t n_begin, n_end;
    float* y;
    std::int64_t y_stride;
  };
  /// On the calling thread.
  void multiply(const Piece& piece) const;

 private:
  const Compute& compute_;
  const float* x_;
  const Matrix& w_;
  AlignedBuffer<bfloat16> tiles_;  ///< for a matrix in panels
};

/// y [rows, w.rows()] = x [rows, w.cols()] * transpose(w), without padding, divided among the team.
void linear(const Compute& compute, const float* x, std::int64_t rows, const Matrix& w, float* y);

/// RMSNorm of each row of x [rows, weight.size()] into y, divided among the team.
void rms_norm_rows(const Compute& compute, const float* x, std::int64_t rows, std::span<const float> weight, float eps,
                   Precision precision, float* y);

}  // namespace unmask::experts
