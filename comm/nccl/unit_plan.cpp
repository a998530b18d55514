// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/unit_plan.h"

#include <algorithm>

namespace unmask::comm {

UnitPlan::UnitPlan(const cluster::Placement& placement, Combine combine)
    : units_(size(placement.num_ranks())), terms_(size(placement.num_experts())) {
  for (auto& first : first_) {
    first.assign(1, 0);
  }
  for (Rank rank(0); rank.value < placement.num_ranks(); ++rank) {
    plan(placement, combine, rank);
  }
}

void UnitPlan::plan(const cluster::Placement& placement, Combine combine, Rank rank) {
  const cluster::ReductionGroups groups = placement.groups();
  std::vector<Unit>& units = units_[rank.at()];
  std::int32_t counts[kNumKinds] = {};
  const auto held = placement.held_by(rank);
  for (std::size_t local = 0; local < held.size(); ++local) {
    const ExpertId expert = held[local];
    const GroupId group = groups.group_of(expert);
    const bool is_whole = combine == Combine::kFast || placement.is_whole(group);
    // A sum that is begun goes on here only with the very next expert.
    const bool goes_on = local > 0 && (combine == Combine::kFast ||
                                       (groups.group_of(held[local - 1]) == group &&
                                        (is_whole || expert.value - groups.group_size() * group.value ==
                                                         static_cast<std::int64_t>(local) - units.back().begin)));
    if (!goes_on) {
      const Kind kind = is_whole ? Kind::kRounded : Kind::kPlain;
      units.push_back({.begin = static_cast<std::int32_t>(local), .end = 0, .kind = kind, .index = counts[kind_at(kind)]++});
    }
    Unit& unit = units.back();
    unit.end = static_cast<std::int32_t>(local) + 1;
    terms_[expert.at()] = {.order = combine == Combine::kFast ? rank.value : held[size(unit.begin)].value,
                           .index = first_[kind_at(unit.kind)].back() + unit.index,
                           .group = is_whole ? -1 : group.value};
  }
  for (std::size_t kind = 0; kind < kNumKinds; ++kind) {
    first_[kind].push_back(first_[kind].back() + counts[kind]);
  }
}

UnitPlan::Part UnitPlan::part(Rank rank, std::int64_t i, std::int64_t n) const {
  const std::vector<Unit>& units = units_[rank.at()];
  const std::int64_t count = std::ssize(units);
  Part part{.begin = static_cast<std::int32_t>(count * i / n), .end = static_cast<std::int32_t>(count * (i + 1) / n), .of_kind = {}};
  if (part.begin == part.end) {
    return part;
  }
  part.first_expert = units[size(part.begin)].begin;
  part.last_expert = units[size(part.end - 1)].end;
  for (std::int32_t u = part.begin; u < part.end; ++u) {
    Part::Range& range = part.of_kind[kind_at(units[size(u)].kind)];
    range.begin = range.end == range.begin ? units[size(u)].index : range.begin;
    range.end = units[size(u)].index + 1;
  }
  return part;
}

std::int64_t UnitPlan::most_units() const {
  std::int64_t most = 0;
  for (const auto& units : units_) {
    most = std::max<std::int64_t>(most, std::ssize(units));
  }
  return most;
}

}  // namespace unmask::comm
