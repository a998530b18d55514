// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cluster/expert_work.h"
#include "experts/linear.h"

namespace unmask::experts {

/// Whether the chosen experts' weights are divided by their sum (norm_topk_prob).
enum class TopKWeights { kAsTheyAre, kRenormalised };

struct RouterOptions {
  std::int64_t top_k = 0;
  TopKWeights weights = TopKWeights::kAsTheyAre;
};

/// Chooses the experts of each row: softmax over all experts' logits in float32, the k largest scores; of equal scores the
/// lowest expert. Scores that are not numbers are chosen last, so that a broken row still has k different experts.
class Router {
 public:
  explicit Router(RouterOptions options) : options_(options) {}

  /// x [rows, hidden] float32, weight [experts, hidden]. The result is valid until the next call.
  cluster::Routing route(const Compute& compute, const float* x, std::int64_t rows, const Matrix& weight);
  /// The same of what a norm makes of rows, before it is rounded; and what comes of it rounded, for the experts.
  cluster::Routing route_normed(const Compute& compute, const NormedRows& in, const Matrix& weight, float* rounded);

 private:
  /// What a thread works in.
  struct Room {
    AlignedBuffer<float> normed;   ///< [rows of a task, hidden]
    AlignedBuffer<float> scores;   ///< [rows of a task, experts]
    std::vector<ExpertId> order;
  };
  /// Rows begin .. begin + count - 1 of the call.
  struct Rows {
    const float* x;
    std::int64_t begin, count;
  };
  void begin(const Compute& compute, std::int64_t rows, const Matrix& weight);
  void route_rows(const Compute& compute, const Matrix& weight, const Rows& rows, Room& room);
  void choose(std::span<const float> scores, std::vector<ExpertId>& order, ExpertId* ids, float* weights) const;
  cluster::Routing routing(std::int64_t rows) const {
    return {.num_rows = rows, .top_k = options_.top_k, .ids = ids_, .weights = weights_};
  }

  RouterOptions options_;
  std::vector<ExpertId> ids_;    ///< [rows, top_k]
  std::vector<float> weights_;   ///< [rows, top_k]
  std::vector<Room> rooms_;      ///< of each thread
};

}  // namespace unmask::experts
