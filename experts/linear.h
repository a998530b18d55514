// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

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

/// Rows that are taken through an RMSNorm.
struct NormedRows {
  const float* x;                 ///< [rows, weight.size()] without padding
  std::int64_t rows;
  std::span<const float> weight;
  float eps;
};

/// The norm of rows [begin, begin + count), rounded to the precision, into y. On the calling thread.
void norm_rows(const KernelFamily& kernels, const NormedRows& in, std::int64_t begin, std::int64_t count, Precision precision, float* y);

/// Rows to be multiplied with matrices, made ready once for their layout and shared by all tasks. The compute it was made with
/// must outlive it.
class LinearInput {
 public:
  LinearInput() = default;
  /// Takes x [rows, like.cols()] without padding, for matrices of the layout and inputs of `like`; divided among the team. Where
  /// the matrices are in rows, x must outlive the products.
  LinearInput(const Compute& compute, const float* x, std::int64_t rows, const Matrix& like) { take(compute, x, rows, like); }
  void take(const Compute& compute, const float* x, std::int64_t rows, const Matrix& like);
  /// Takes what the norm makes of rows.
  void take_normed(const Compute& compute, const NormedRows& in, const Matrix& like);

  /// A piece of a product: y[(r - row_begin) * y_stride + n - n_begin], both begins multiples of 16.
  struct Piece {
    std::int64_t row_begin, row_end;
    std::int64_t n_begin, n_end;
    float* y;
    std::int64_t y_stride;
    /// Weights that the same thread will probably multiply next, to be asked for meanwhile: weights_at(); or null.
    const bfloat16* next = nullptr;
  };
  static const bfloat16* weights_at(const Matrix& w, std::int64_t n) {
    return w.layout() == Layout::kPanels ? w.panel(n / kPanelRows) : nullptr;
  }
  /// On the calling thread.
  void multiply(const Matrix& w, const Piece& piece) const;

  std::int64_t rows() const { return rows_; }
  /// Rows that one product should take: so many stay in a second cache while the weights pass by.
  std::int64_t rows_at_once() const;

 private:
  void shape(const Compute& compute, std::int64_t rows, const Matrix& like);
  void tile_rows(const float* x, std::int64_t block, std::byte* tiles) const;

  const Compute* compute_ = nullptr;
  const float* x_ = nullptr;       ///< for a matrix in rows
  std::int64_t rows_ = 0, cols_ = 0;
  AlignedBuffer<float> normed_;    ///< [rows, cols]: what x_ is where this made it
  AlignedBuffer<std::byte> tiles_;  ///< for a matrix in panels
  std::vector<AlignedBuffer<float>> scratch_;  ///< of each thread: [16, cols]
};

/// Room for each thread of a team to keep a piece in.
using PieceBuffers = std::vector<AlignedBuffer<float>>;

/// y [rows, w.rows()] = x [rows, w.cols()] * transpose(w), without padding, divided among the team.
void linear(const Compute& compute, const float* x, std::int64_t rows, const Matrix& w, float* y);

/// y += x * transpose(w), the same, by way of `buffers`.
void linear_add(const Compute& compute, const LinearInput& x, const Matrix& w, PieceBuffers& buffers, float* y);

/// RMSNorm of each row into y [rows, weight.size()], divided among the team.
void rms_norm_rows(const Compute& compute, const NormedRows& in, Precision precision, float* y);

}  // namespace unmask::experts
