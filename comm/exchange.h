// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "cluster/expert_work.h"
#include "cluster/placement.h"
#include "comm/communicator.h"

namespace unmask::comm {

/// How a row of activations travels, and to what a reduction group's sum is rounded.
enum class WireType { kBfloat16, kFloat32 };

/// What ranks tell each other with the counts of a dispatch; the flags of all ranks are or-ed.
enum class Vote : std::uint32_t {
  kIdle = 0,
  kWork = 1,  ///< this rank has rows in this step
  kStop = 2,  ///< this rank was asked to stop
  kOpen = 4,  ///< this rank has no rows but may get some, so the others must stay
};
constexpr Vote operator|(Vote a, Vote b) { return Vote(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b)); }
constexpr bool has(Vote set, Vote flag) { return (static_cast<std::uint32_t>(set) & static_cast<std::uint32_t>(flag)) != 0; }

struct ExchangeOptions {
  std::int64_t hidden = 0;
  WireType wire = WireType::kBfloat16;
};

struct ExchangeStatistics {
  std::uint64_t wire_bytes = 0;  ///< payload this rank sent to other ranks: rows out, expert weights and ids, rows back
};

/// The token all-to-all of one MoE layer. Collective: every rank calls dispatch() and combine() in turn, with zero rows where
/// it has none. One row travels per (token, destination rank); back comes one row per (token, reduction group), already
/// weighted and summed, or one float32 row per (token, expert) where a group is split between ranks.
///
///   rows, routing --dispatch--> work --experts--> slots --combine--> sums
class Exchange {
 public:
  virtual ~Exchange() = default;

  struct Arrived {
    cluster::ExpertWork work;  ///< valid until the next dispatch()
    Vote votes = Vote::kIdle;  ///< of all ranks
  };
  /// rows [routing.num_rows, hidden] float32 whose values are representable in the wire type. They must stay as they are
  /// until combine(): where all of them stay on this rank, the work refers to them.
  virtual Arrived dispatch(std::span<const float> rows, const cluster::Routing& routing, Vote vote) = 0;

  /// slots [work.num_slots, hidden] float32, as ExpertWork says; they are rounded here, once per reduction group, also those
  /// that stay on this rank. Writes sums [num_rows, hidden]: per row the float32 sum of its groups in ascending order.
  virtual void combine(std::span<const float> slots, std::span<float> sums) = 0;

  virtual const ExchangeStatistics& statistics() const = 0;
};

/// The exchange over a communicator, which must outlive it like the placement. Placement and options must be the same on
/// every rank (compare them with require_same); an exchange in which ranks disagree ends with Error(kPeerLost).
std::unique_ptr<Exchange> make_exchange(Communicator& comm, const cluster::Placement& placement, const ExchangeOptions& options);

}  // namespace unmask::comm
