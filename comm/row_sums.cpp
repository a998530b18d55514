// SPDX-License-Identifier: Apache-2.0
#include "comm/row_sums.h"

#include <algorithm>
#include <array>

#include "comm/wire_format.h"

namespace unmask::comm {
namespace {

constexpr std::int64_t kColumns = 2048;  // summed at a time: they stay in the first cache

}  // namespace

RowSums::RowSums(const cluster::Placement& placement, const ExchangeOptions& options) : placement_(placement), options_(options) {}

void RowSums::begin(const cluster::Routing& routing) {
  num_rows_ = routing.num_rows;
  top_k_ = routing.top_k;
  ids_.assign(routing.ids.begin(), routing.ids.end());
  terms_.assign(ids_.size(), Term{});
}

void RowSums::expect(Rank from, const Parcel& parcel, const ReturnPlan& plan, const std::byte* message) {
  for (const auto& slot : plan.slots()) {
    const std::size_t place = size(parcel.places[size(slot.first_pair)]);
    terms_[place] = {.message = message + slot.offset, .from = from, .group = placement_.groups().group_of(ids_[place]),
                     .where = Where::kMessage, .whole = slot.whole};
  }
}

void RowSums::expect_own(const Parcel& parcel, const ReturnPlan& plan, std::span<const std::int32_t> slots) {
  for (std::size_t i = 0; i < plan.slots().size(); ++i) {
    const auto& slot = plan.slots()[i];
    const std::size_t place = size(parcel.places[size(slot.first_pair)]);
    terms_[place] = {.own = slots[i], .from = placement_.owner(ids_[place]), .group = placement_.groups().group_of(ids_[place]),
                     .where = Where::kOwn, .whole = slot.whole};
  }
}

void RowSums::add(std::int64_t row, const float* own_slots, float* values) const {
  const std::span<const Term> terms(terms_.data() + row * top_k_, size(top_k_));
  std::array<float, kColumns> sums;
  for (std::int64_t begin = 0; begin < options_.hidden; begin += kColumns) {
    const Columns columns{begin, std::min(kColumns, options_.hidden - begin)};
    std::fill_n(sums.begin(), columns.count, 0.0F);
    if (options_.combine == Combine::kExact) {
      sum_exact(terms, own_slots, columns, sums.data());
    } else {
      sum_fast(terms, own_slots, columns, sums.data());
    }
    add_encoded(reinterpret_cast<const std::byte*>(sums.data()), columns.count, WireType::kFloat32, values + begin);
  }
}

/// A remote sum is rounded already; an own one is rounded here.
void RowSums::add_whole(const Term& term, const float* own_slots, const Columns& columns, float* sums) const {
  if (term.where == Where::kOwn) {
    add_rounded(options_.wire, own_slots + term.own * options_.hidden + columns.begin, columns.count, sums);
  } else {
    add_encoded(term.message + columns.begin * value_bytes(options_.wire), columns.count, options_.wire, sums);
  }
}

/// The terms of a group that is split between ranks, of which each is one expert's.
void RowSums::add_split(std::span<const Term> terms, const float* own_slots, const Columns& columns, float* sums) const {
  std::array<float, kColumns> group;
  std::fill_n(group.begin(), columns.count, 0.0F);
  for (const Term& term : terms) {
    const auto* values = term.where == Where::kOwn
                             ? reinterpret_cast<const std::byte*>(own_slots + term.own * options_.hidden + columns.begin)
                             : term.message + columns.begin * value_bytes(WireType::kFloat32);
    add_encoded(values, columns.count, WireType::kFloat32, group.data());
  }
  add_rounded(options_.wire, group.data(), columns.count, sums);
}

void RowSums::sum_exact(std::span<const Term> terms, const float* own_slots, const Columns& columns, float* sums) const {
  for (std::size_t i = 0, end = 0; i < terms.size(); i = end) {
    end = i + 1;
    if (terms[i].where == Where::kNowhere) {
      continue;  // belongs to the slot before
    }
    if (terms[i].whole) {
      add_whole(terms[i], own_slots, columns, sums);
      continue;
    }
    while (end < terms.size() && terms[end].group == terms[i].group) {
      ++end;
    }
    add_split(terms.subspan(i, end - i), own_slots, columns, sums);
  }
}

void RowSums::sum_fast(std::span<const Term> terms, const float* own_slots, const Columns& columns, float* sums) const {
  Rank last(-1);
  while (true) {  // a row has few ranks, and one term of each
    const Term* next = nullptr;
    for (const Term& term : terms) {
      if (term.where != Where::kNowhere && term.from > last && (next == nullptr || term.from < next->from)) {
        next = &term;
      }
    }
    if (next == nullptr) {
      return;
    }
    add_whole(*next, own_slots, columns, sums);
    last = next->from;
  }
}

}  // namespace unmask::comm
