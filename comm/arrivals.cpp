// SPDX-License-Identifier: Apache-2.0
#include "comm/arrivals.h"

#include <algorithm>

namespace unmask::comm {

Arrivals::Arrivals(const cluster::Placement& placement, Rank me) : slot_begin_(size(placement.num_ranks() + 1)) {
  for (const auto expert : placement.held_by(me)) {
    group_.push_back(placement.groups().group_of(expert));
    is_whole_.push_back(placement.is_whole(group_.back()) ? 1 : 0);
  }
  place_.resize(group_.size());
}

/// Leaves in place_ where each expert's assignments begin.
void Arrivals::count(std::span<const Parcel* const> parcels) {
  std::fill(place_.begin(), place_.end(), 0);
  num_rows_ = 0;
  for (const auto* parcel : parcels) {
    num_rows_ += parcel->num_rows();
    for (const auto expert : parcel->experts) {
      ++place_[expert];
    }
  }
  std::int64_t begin = 0;
  for (auto& place : place_) {
    begin += std::exchange(place, begin);
  }
  assignments_.resize(size(begin));
  UNMASK_CHECK(std::in_range<std::int32_t>(begin), "{} assignments in one layer", begin);  // as many as slots, or more
}

void Arrivals::lay_out(std::span<const Parcel* const> parcels) {
  count(parcels);
  slot_is_whole_.clear();
  std::int32_t row = 0;
  for (std::size_t source = 0; source < parcels.size(); ++source) {
    slot_begin_[source] = num_slots();
    const Parcel& parcel = *parcels[source];
    std::size_t pair = 0;
    for (const auto num_experts : parcel.num_experts) {
      GroupId last(-1);
      for (const std::size_t end = pair + num_experts; pair < end; ++pair) {
        const std::size_t expert = parcel.experts[pair];
        if (is_whole_[expert] == 0 || group_[expert] != last) {
          slot_is_whole_.push_back(is_whole_[expert]);
        }
        last = group_[expert];
        assignments_[size(place_[expert]++)] = {row, LocalExpert(expert), parcel.weights[pair],
                                                static_cast<std::int32_t>(slot_is_whole_.size() - 1)};
      }
      ++row;
    }
  }
  slot_begin_[parcels.size()] = num_slots();
}

}  // namespace unmask::comm
