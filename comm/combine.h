// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cluster/placement.h"
#include "comm/arrivals.h"
#include "comm/exchange.h"

namespace unmask::comm {

/// The way back. A rank returns the slots of a source rank in order, whole groups in the wire type, single experts in float32:
///
///   slots of one source   | whole | whole | one expert | one expert | whole | ...
///   as a message          | bf16  | bf16  |  float32   |  float32   | bf16  | ...
///
/// The source meets them in the same order when it walks through its own routing, so nothing but values travels.

/// Bytes of the slots that go back to `source`.
std::int64_t return_bytes(const Arrivals& arrivals, Rank source, const ExchangeOptions& options);
void write_return(const Arrivals& arrivals, Rank source, std::span<const float> slots, const ExchangeOptions& options,
                  std::byte* message);

/// The routing of one rank's rows, kept from dispatch to combine.
struct SentRouting {
  std::int64_t num_rows = 0;
  std::int64_t top_k = 0;
  std::vector<ExpertId> ids;
};

/// Bytes that each rank will return for these rows.
void expected_returns(const SentRouting& sent, const cluster::Placement& placement, const ExchangeOptions& options,
                      std::vector<std::int64_t>& bytes);

/// Where the returns of each rank are: messages, but the own rank's are still its slots.
struct Returns {
  std::span<const std::byte* const> messages;  ///< by rank
  Rank me;
  const float* own_slots = nullptr;  ///< the first of those that this rank holds for itself
};

/// sums[row] = sum over its groups, ascending, of the group's sum rounded to the wire type. A split group is summed here, in
/// float32, ascending by expert: the arithmetic, and so every bit, is the same as where one rank holds it whole.
class GroupSums {
 public:
  GroupSums(const cluster::Placement& placement, const ExchangeOptions& options);
  void sum(const SentRouting& sent, const Returns& returns, std::span<float> sums);

 private:
  /// The next value row of a rank's return; points into the slots or into scratch_.
  const float* next(const Returns& returns, Rank rank, WireType type);

  const cluster::Placement& placement_;
  ExchangeOptions options_;
  std::vector<const std::byte*> cursor_;  ///< by rank: what of its message was not yet read
  const float* own_cursor_ = nullptr;
  std::vector<float> scratch_, group_;
};

}  // namespace unmask::comm
