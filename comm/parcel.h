// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cluster/placement.h"
#include "comm/communicator.h"
#include "comm/exchange.h"

namespace unmask::comm {

/// What goes before a parcel, also where the parcel is empty and does not travel at all.
struct ParcelHead {
  std::uint32_t votes = 0;
  std::uint32_t layer = 0;  ///< how many exchanges the sender has begun: ranks out of step are found at once
  std::uint32_t num_rows = 0;
  std::uint32_t num_pairs = 0;
};

/// The rows that one rank sends to another in one layer, without their values: each row once, with its experts there.
struct Parcel {
  std::vector<std::int32_t> rows;          ///< rows of the sender, ascending; only the sender needs them
  std::vector<std::uint16_t> num_experts;  ///< [rows] pairs that belong to a row, at least one
  std::vector<std::uint16_t> experts;      ///< [pairs] LocalExpert of the receiver, ascending within a row
  std::vector<float> weights;              ///< [pairs]

  std::int64_t num_rows() const { return static_cast<std::int64_t>(num_experts.size()); }
  std::int64_t num_pairs() const { return static_cast<std::int64_t>(experts.size()); }
  void clear();
};

/// As a message: row values, weights, experts, counts. Of a 2048-wide bfloat16 row with one expert, 0.2 % is not the row.
std::int64_t parcel_bytes(std::int64_t num_rows, std::int64_t num_pairs, const ExchangeOptions& options);

/// rows [.., hidden] are the sender's.
void write_parcel(const Parcel& parcel, const float* rows, const ExchangeOptions& options, std::byte* message);

/// Reads into parcel (without rows) and values [head.num_rows, hidden]. Error(kPeerLost) naming `from` where the parcel names
/// an expert that is not held here, or its counts do not add up.
void read_parcel(const std::byte* message, const ParcelHead& head, Rank from, std::int64_t num_held,
                 const ExchangeOptions& options, Parcel& parcel, float* values);

/// Sorts a rank's rows into one parcel per destination. Checks the routing (logic_error: it is our own router's).
void pack(const cluster::Routing& routing, const cluster::Placement& placement, std::vector<Parcel>& parcels);

}  // namespace unmask::comm
