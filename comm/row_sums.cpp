// SPDX-License-Identifier: Apache-2.0
#include "comm/row_sums.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "comm/wire_format.h"

namespace unmask::comm {

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

void RowSums::sum(std::int64_t row, const float* own_slots, float* sums) const {
  const std::span<const Term> terms(terms_.data() + row * top_k_, size(top_k_));
  std::memset(sums, 0, size(options_.hidden) * sizeof(float));
  if (options_.combine == Combine::kExact) {
    sum_exact(terms, own_slots, sums);
  } else {
    sum_fast(terms, own_slots, sums);
  }
}

/// A remote sum is rounded already; an own one is rounded here.
void RowSums::add_whole(const Term& term, const float* own_slots, float* sums) const {
  if (term.where == Where::kOwn) {
    add_rounded(options_.wire, own_slots + term.own * options_.hidden, options_.hidden, sums);
  } else {
    add_encoded(term.message, options_.hidden, options_.wire, sums);
  }
}

void RowSums::sum_exact(std::span<const Term> terms, const float* own_slots, float* sums) const {
  constexpr std::int64_t kColumns = 1024;  // of a split group, summed on the stack
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (terms[i].where == Where::kNowhere) {
      continue;  // belongs to the slot before
    }
    if (terms[i].whole) {
      add_whole(terms[i], own_slots, sums);
      continue;
    }
    std::size_t end = i + 1;
    while (end < terms.size() && terms[end].group == terms[i].group) {
      ++end;
    }
    for (std::int64_t column = 0; column < options_.hidden; column += kColumns) {
      const std::int64_t count = std::min(kColumns, options_.hidden - column);
      std::array<float, kColumns> group;
      std::fill_n(group.begin(), count, 0.0F);
      for (std::size_t j = i; j < end; ++j) {
        const auto* values = terms[j].where == Where::kOwn
                                 ? reinterpret_cast<const std::byte*>(own_slots + terms[j].own * options_.hidden + column)
                                 : terms[j].message + column * value_bytes(WireType::kFloat32);
        add_encoded(values, count, WireType::kFloat32, group.data());
      }
      add_rounded(options_.wire, group.data(), count, sums + column);
    }
    i = end - 1;
  }
}

void RowSums::sum_fast(std::span<const Term> terms, const float* own_slots, float* sums) const {
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
    add_whole(*next, own_slots, sums);
    last = next->from;
  }
}

}  // namespace unmask::comm
