// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <limits>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace unmask {

/// A whole number of one index space: a Rank never mixes with an ExpertId, and neither with a bare integer.
template <class Tag, class Value = std::int32_t>
struct Index {
  Value value{};

  constexpr Index() = default;
  constexpr explicit Index(Value v) : value(v) {}
  template <class Wider>
    requires(std::is_integral_v<Wider> && !std::is_same_v<Wider, Value>)
  constexpr explicit Index(Wider v) : value(static_cast<Value>(v)) {
    UNMASK_DCHECK(std::in_range<Value>(v), "index out of its type");
  }

  constexpr auto operator<=>(const Index&) const = default;
  constexpr Index& operator++() {
    ++value;
    return *this;
  }
  /// For subscripts.
  constexpr std::size_t at() const { return static_cast<std::size_t>(value); }
};

using Rank = Index<struct RankTag>;                ///< a process (or a thread that stands for one) of the job
using ExpertId = Index<struct ExpertTag>;          ///< an expert of a layer, as the checkpoint numbers it
using LocalExpert = Index<struct LocalExpertTag>;  ///< an expert among those that this rank holds, ascending by ExpertId
using GroupId = Index<struct GroupTag>;            ///< a reduction group: consecutive experts whose sum is rounded once
using LayerId = Index<struct LayerTag>;
using TokenRow = Index<struct TokenRowTag>;        ///< a row of the step's flat batch on this rank

/// A token's number in the vocabulary; negative is never valid.
using TokenId = std::int32_t;

/// Checked change of integer type; says what did not fit.
template <class To, class From>
constexpr To narrow(From value) {
  UNMASK_CHECK(std::in_range<To>(value), "value {} does not fit into {} bytes", value, sizeof(To));
  return static_cast<To>(value);
}

/// For subscripts and sizes from our signed 64-bit counts.
constexpr std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

}  // namespace unmask

template <class Tag, class Value>
struct std::hash<unmask::Index<Tag, Value>> {
  std::size_t operator()(const unmask::Index<Tag, Value>& i) const { return std::hash<Value>()(i.value); }
};

template <class Tag, class Value>
struct fmt::formatter<unmask::Index<Tag, Value>> : fmt::formatter<Value> {
  template <class Context>
  auto format(const unmask::Index<Tag, Value>& i, Context& context) const {
    return fmt::formatter<Value>::format(i.value, context);
  }
};
