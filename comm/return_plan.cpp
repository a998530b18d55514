// SPDX-License-Identifier: Apache-2.0
#include "comm/return_plan.h"

#include <algorithm>
#include <utility>

#include "comm/wire_format.h"

namespace unmask::comm {

SumUnits::SumUnits(const cluster::Placement& placement, Rank rank, Combine combine) {
  for (const ExpertId expert : placement.held_by(rank)) {
    const GroupId group = placement.groups().group_of(expert);
    const bool whole = combine == Combine::kFast || placement.is_whole(group);
    unit_.push_back(combine == Combine::kFast ? 0 : whole ? group.value : -1 - expert.value);
    whole_.push_back(whole ? 1 : 0);
  }
}

void ReturnPlan::plan(const Parcel& parcel, const SumUnits& units, const ChunkGrid& grid, Rank rank, const ExchangeOptions& options) {
  slots_.clear();
  chunk_begin_.assign(size(grid.num_chunks() + 1), 0);
  std::int32_t pair = 0;
  for (std::int32_t row = 0; row < parcel.num_rows(); ++row) {
    const std::int32_t begin = pair;
    for (const std::int32_t end = pair + parcel.num_experts[size(row)]; pair < end; ++pair) {
      const std::int64_t expert = parcel.experts[size(pair)];
      const auto chunk = static_cast<std::uint8_t>(grid.chunk_of(rank, expert));
      if (pair > begin && units.unit(expert) == units.unit(parcel.experts[size(pair - 1)])) {
        slots_.back().last_chunk = chunk;
        ++slots_.back().num_pairs;
      } else {
        slots_.push_back({.first_pair = pair, .num_pairs = 1, .row = row, .first_chunk = chunk, .last_chunk = chunk,
                          .whole = units.is_whole(expert)});
      }
    }
  }
  order(options);
}

void ReturnPlan::order(const ExchangeOptions& options) {
  for (const Slot& slot : slots_) {
    ++chunk_begin_[slot.last_chunk + std::size_t{1}];
  }
  for (std::size_t chunk = 1; chunk < chunk_begin_.size(); ++chunk) {
    chunk_begin_[chunk] += chunk_begin_[chunk - 1];
  }
  order_.resize(slots_.size());
  std::vector<std::int64_t> next(chunk_begin_.begin(), chunk_begin_.end() - 1);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    order_[size(next[slots_[i].last_chunk]++)] = static_cast<std::int32_t>(i);
  }
  chunk_bytes_.assign(next.size(), 0);
  num_bytes_ = 0;
  for (const std::int32_t i : order_) {
    Slot& slot = slots_[size(i)];
    const std::int64_t bytes = options.hidden * value_bytes(slot.whole ? options.wire : WireType::kFloat32);
    chunk_bytes_[slot.last_chunk] += bytes;
    slot.offset = std::exchange(num_bytes_, num_bytes_ + bytes);
  }
}

std::span<const std::int32_t> ReturnPlan::returning(std::int64_t chunk_begin, std::int64_t chunk_end) const {
  const std::int64_t begin = chunk_begin_[size(chunk_begin)];
  return {order_.data() + begin, size(chunk_begin_[size(chunk_end)] - begin)};
}

}  // namespace unmask::comm
