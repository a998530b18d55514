// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

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

/// y [rows, w.rows()] = x [rows, w.cols()] * transpose(w), without padding, divided among the team.
void linear(const Compute& compute, const float* x, std::int64_t rows, const Matrix& w, float* y);

/// RMSNorm of each row of x [rows, weight.size()] into y, divided among the team.
void rms_norm_rows(const Compute& compute, const float* x, std::int64_t rows, std::span<const float> weight, float eps,
                   Precision precision, float* y);

}  // namespace unmask::experts
