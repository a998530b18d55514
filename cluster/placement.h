// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/types.h"

namespace unmask::cluster {

/// The reduction groups of a checkpoint: consecutive experts, max(1, experts / 8) of them per group (the last group may be
/// shorter). They depend on the checkpoint alone, never on the job, so the order of every sum is the same in any layout.
struct ReductionGroups {
  std::int64_t num_experts = 0;

  std::int64_t group_size() const { return num_experts / 8 > 1 ? num_experts / 8 : 1; }
  std::int64_t num_groups() const { return (num_experts + group_size() - 1) / group_size(); }
  GroupId group_of(ExpertId expert) const { return GroupId(expert.value / group_size()); }
};

/// Which rank holds which expert; the same for every layer.
class Placement {
 public:
  /// owner[e] is the rank of expert e. Throws Error(kUsage) where a rank is out of range.
  Placement(std::vector<Rank> owner, std::int64_t num_ranks);

  /// Whole reduction groups per rank where that costs little balance (the busiest rank at most a quarter above an even
  /// share), else consecutive experts as evenly as possible. More ranks than experts: the last ranks hold none.
  static Placement even(std::int64_t num_experts, std::int64_t num_ranks);

  std::int64_t num_experts() const { return static_cast<std::int64_t>(owner_.size()); }
  std::int64_t num_ranks() const { return static_cast<std::int64_t>(held_.size()); }
  ReductionGroups groups() const { return {num_experts()}; }

  Rank owner(ExpertId expert) const { return owner_[expert.at()]; }
  /// The experts of a rank, ascending; the position in this list is the LocalExpert.
  std::span<const ExpertId> held_by(Rank rank) const { return held_[rank.at()]; }
  LocalExpert local(ExpertId expert) const { return local_[expert.at()]; }
  /// Whether all experts of a group live on one rank; otherwise the token's own rank does the group's arithmetic.
  bool is_whole(GroupId group) const { return whole_[group.at()]; }

 private:
  std::vector<Rank> owner_;
  std::vector<std::vector<ExpertId>> held_;
  std::vector<LocalExpert> local_;
  std::vector<bool> whole_;
};

}  // namespace unmask::cluster
