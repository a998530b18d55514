// SPDX-License-Identifier: Apache-2.0
#include "comm/row_sums.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "comm/wire_format.h"

namespace unmask::comm {
namespace {

constexpr std::size_t kTermsAtOnce = 16;  // groups of a row that are summed in one go

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

void RowSums::sum(std::int64_t row, const float* own_slots, float* sums) const {
  const std::span<const Term> terms(terms_.data() + row * top_k_, size(top_k_));
  if (options_.combine == Combine::kExact) {
    sum_exact(terms, own_slots, sums);
  } else {
    sum_fast(terms, own_slots, sums);
  }
}

/// A remote sum is rounded already; an own one is rounded when it is added.
WireTerm RowSums::whole_term(const Term& term, const float* own_slots) const {
  return term.where == Where::kOwn ? WireTerm{reinterpret_cast<const std::byte*>(own_slots + term.own * options_.hidden), WireTerm::Form::kFloat32}
                                   : WireTerm{term.message, WireTerm::Form::kEncoded};
}

void RowSums::sum_exact(std::span<const Term> terms, const float* own_slots, float* sums) const {
  std::array<WireTerm, kTermsAtOnce> whole;
  std::size_t num_whole = 0, i = 0;
  for (; i < terms.size() && num_whole < whole.size() && (terms[i].whole || terms[i].where == Where::kNowhere); ++i) {
    if (terms[i].where != Where::kNowhere) {  // else it belongs to the slot before
      whole[num_whole++] = whole_term(terms[i], own_slots);
    }
  }
  sum_terms(options_.wire, {whole.data(), num_whole}, options_.hidden, sums);
  while (i < terms.size()) {  // what comes behind a split group, or behind very many
    const Term& term = terms[i];
    std::size_t end = i + 1;
    if (term.where == Where::kOwn && term.whole) {
      add_rounded(options_.wire, own_slots + term.own * options_.hidden, options_.hidden, sums);
    } else if (term.where == Where::kMessage && term.whole) {
      add_encoded(term.message, options_.hidden, options_.wire, sums);
    } else if (term.where != Where::kNowhere) {
      while (end < terms.size() && terms[end].group == term.group) {
        ++end;
      }
      add_split(terms.subspan(i, end - i), own_slots, sums);
    }
    i = end;
  }
}

/// The weighted expert rows of one group, each in a slot of its own.
void RowSums::add_split(std::span<const Term> group, const float* own_slots, float* sums) const {
  constexpr std::int64_t kColumns = 1024;  // summed on the stack
  for (std::int64_t column = 0; column < options_.hidden; column += kColumns) {
    const std::int64_t count = std::min(kColumns, options_.hidden - column);
    std::array<float, kColumns> sum;
    std::fill_n(sum.begin(), count, 0.0F);
    for (const Term& term : group) {
      const auto* values = term.where == Where::kOwn ? reinterpret_cast<const std::byte*>(own_slots + term.own * options_.hidden + column)
                                                     : term.message + column * value_bytes(WireType::kFloat32);
      add_encoded(values, count, WireType::kFloat32, sum.data());
    }
    add_rounded(options_.wire, sum.data(), count, sums + column);
  }
}

void RowSums::sum_fast(std::span<const Term> terms, const float* own_slots, float* sums) const {
  std::memset(sums, 0, size(options_.hidden) * sizeof(float));
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
    if (next->where == Where::kOwn) {
      add_rounded(options_.wire, own_slots + next->own * options_.hidden, options_.hidden, sums);
    } else {
      add_encoded(next->message, options_.hidden, options_.wire, sums);
    }
    last = next->from;
  }
}

}  // namespace unmask::comm
