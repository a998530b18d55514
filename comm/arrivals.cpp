// SPDX-License-Identifier: Apache-2.0
#include "comm/arrivals.h"

#include <algorithm>

namespace unmask::comm {

Arrivals::Arrivals(const cluster::Placement& placement, Rank me, const ChunkGrid& grid)
    : me_(me), grid_(grid), place_(placement.held_by(me).size() + 1), slot_of_(size(placement.num_ranks())),
      slot_begin_(size(grid.num_chunks() + 1)), row_begin_(size(placement.num_ranks())) {}

void Arrivals::lay_out(std::span<const Source> sources) {
  num_rows_ = 0;
  for (std::size_t source = 0; source < sources.size(); ++source) {
    row_begin_[source] = num_rows_;
    num_rows_ += sources[source].parcel->num_rows();
  }
  UNMASK_CHECK(std::in_range<std::int32_t>(num_rows_), "{} rows in one layer", num_rows_);
  place_slots(sources);
  place_assignments(sources);
}

/// Numbers the slots by the chunk that begins them, so that those of a chunk lie side by side.
void Arrivals::place_slots(std::span<const Source> sources) {
  std::fill(slot_begin_.begin(), slot_begin_.end(), 0);
  for (const Source& source : sources) {
    for (const auto& slot : source.returns->slots()) {
      ++slot_begin_[slot.first_chunk + std::size_t{1}];
    }
  }
  for (std::size_t chunk = 1; chunk < slot_begin_.size(); ++chunk) {
    slot_begin_[chunk] += slot_begin_[chunk - 1];
  }
  UNMASK_CHECK(std::in_range<std::int32_t>(num_slots()), "{} slots in one layer", num_slots());
  next_.assign(slot_begin_.begin(), slot_begin_.end());
  for (std::size_t source = 0; source < sources.size(); ++source) {
    const auto slots = sources[source].returns->slots();
    slot_of_[source].resize(slots.size());
    for (std::size_t i = 0; i < slots.size(); ++i) {
      slot_of_[source][i] = static_cast<std::int32_t>(next_[slots[i].first_chunk]++);
    }
  }
}

void Arrivals::place_assignments(std::span<const Source> sources) {
  std::fill(place_.begin(), place_.end(), 0);
  for (const Source& source : sources) {
    for (const auto expert : source.parcel->experts) {
      ++place_[expert + std::size_t{1}];
    }
  }
  for (std::size_t expert = 1; expert < place_.size(); ++expert) {
    place_[expert] += place_[expert - 1];
  }
  UNMASK_CHECK(std::in_range<std::int32_t>(place_.back()), "{} assignments in one layer", place_.back());
  assignments_.resize(size(place_.back()));
  next_.assign(place_.begin(), place_.end());
  for (std::size_t source = 0; source < sources.size(); ++source) {
    const Parcel& parcel = *sources[source].parcel;
    const auto slots = sources[source].returns->slots();
    for (std::size_t i = 0; i < slots.size(); ++i) {
      for (std::int32_t pair = slots[i].first_pair; pair < slots[i].first_pair + slots[i].num_pairs; ++pair) {
        const std::uint16_t expert = parcel.experts[size(pair)];
        assignments_[size(next_[expert]++)] = {static_cast<std::int32_t>(row_begin_[source]) + slots[i].row, LocalExpert(expert),
                                               parcel.weights[size(pair)], slot_of_[source][i]};
      }
    }
  }
}

std::int64_t Arrivals::busiest_pairs() const {
  std::int64_t most = 0;
  for (std::size_t expert = 0; expert + 1 < place_.size(); ++expert) {
    most = std::max(most, place_[expert + 1] - place_[expert]);
  }
  return most;
}

cluster::ExpertWork Arrivals::work(std::int64_t chunk_begin, std::int64_t chunk_end) const {
  cluster::ExpertWork work{.num_rows = num_rows_, .num_slots = num_slots(), .rows = {}, .assignments = {}};
  const std::int64_t first = place_[size(grid_.experts_before(me_, chunk_begin))];
  const std::int64_t last = place_[size(grid_.experts_before(me_, chunk_end))];
  work.assignments = {assignments_.data() + first, size(last - first)};
  work.new_slots_begin = slot_begin_[size(chunk_begin)];
  work.new_slots_end = slot_begin_[size(chunk_end)];
  return work;
}

}  // namespace unmask::comm
