// SPDX-License-Identifier: Apache-2.0
#include "cluster/placement.h"

#include <algorithm>

#include "base/error.h"

namespace unmask::cluster {
namespace {

/// Deals `count` consecutive things to `num_ranks` ranks, the first ranks getting one more where it does not come out even.
/// Calls deal(rank, begin, end) for every rank.
template <class Deal>
void deal_evenly(std::int64_t count, std::int64_t num_ranks, const Deal& deal) {
  const std::int64_t share = count / num_ranks;
  const std::int64_t longer = count % num_ranks;
  std::int64_t begin = 0;
  for (std::int64_t rank = 0; rank < num_ranks && begin < count; ++rank) {
    const std::int64_t end = begin + share + (rank < longer ? 1 : 0);
    deal(Rank(rank), begin, end);
    begin = end;
  }
}

std::vector<Rank> owners_by_group(const ReductionGroups& groups, std::int64_t num_ranks) {
  std::vector<Rank> owner(size(groups.num_experts));
  deal_evenly(groups.num_groups(), num_ranks, [&](Rank rank, std::int64_t begin, std::int64_t end) {
    const std::int64_t last = std::min(end * groups.group_size(), groups.num_experts);
    std::fill(owner.begin() + begin * groups.group_size(), owner.begin() + last, rank);
  });
  return owner;
}

std::vector<Rank> owners_by_expert(std::int64_t num_experts, std::int64_t num_ranks) {
  std::vector<Rank> owner(size(num_experts));
  deal_evenly(num_experts, num_ranks, [&](Rank rank, std::int64_t begin, std::int64_t end) {
    std::fill(owner.begin() + begin, owner.begin() + end, rank);
  });
  return owner;
}

std::int64_t busiest(const std::vector<Rank>& owner) {
  std::int64_t most = 0;
  for (auto begin = owner.begin(); begin != owner.end();) {
    const auto end = std::find_if(begin, owner.end(), [&](Rank rank) { return rank != *begin; });
    most = std::max(most, static_cast<std::int64_t>(end - begin));
    begin = end;
  }
  return most;
}

}  // namespace

Placement::Placement(std::vector<Rank> owner, std::int64_t num_ranks) : owner_(std::move(owner)) {
  require(num_ranks > 0, ExitCode::kUsage, "a placement needs at least one rank, found {}", num_ranks);
  held_.resize(size(num_ranks));
  local_.resize(owner_.size());
  whole_.assign(size(groups().num_groups()), true);
  for (std::size_t e = 0; e < owner_.size(); ++e) {
    const ExpertId expert(e);
    const Rank rank = owner_[e];
    require(rank.value >= 0 && rank.value < num_ranks, ExitCode::kUsage,
            "expert {} is placed on rank {}: expected a rank from 0 to {}", expert, rank, num_ranks - 1);
    local_[e] = LocalExpert(held_[rank.at()].size());
    held_[rank.at()].push_back(expert);
    const GroupId group = groups().group_of(expert);
    const std::int64_t first_of_group = group.value * groups().group_size();
    if (owner_[size(first_of_group)] != rank) {
      whole_[group.at()] = false;
    }
  }
}

Placement Placement::even(std::int64_t num_experts, std::int64_t num_ranks) {
  require(num_ranks > 0, ExitCode::kUsage, "a placement needs at least one rank, found {}", num_ranks);
  require(num_experts >= 0, ExitCode::kUsage, "a placement needs a number of experts, found {}", num_experts);
  const std::int64_t even_share = num_experts / num_ranks + (num_experts % num_ranks != 0 ? 1 : 0);
  std::vector<Rank> owner = owners_by_group({num_experts}, num_ranks);
  if (4 * busiest(owner) > 5 * even_share) {
    owner = owners_by_expert(num_experts, num_ranks);
  }
  return {std::move(owner), num_ranks};
}

}  // namespace unmask::cluster
