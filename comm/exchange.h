// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/thread_team.h"
#include "base/trace.h"
#include "cluster/expert_work.h"
#include "cluster/placement.h"
#include "comm/communicator.h"
#include "comm/link_probe.h"
#include "comm/routing_log.h"

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

/// What a rank tells all others with the counts of a dispatch.
struct Notice {
  Vote vote = Vote::kIdle;
  std::int64_t first_half = 0;  ///< rows of this rank that would be in the first of two micro-batches
};
/// What all ranks told.
struct Census {
  Vote votes = Vote::kIdle;     ///< of all ranks, or-ed
  std::int64_t num_rows = 0;    ///< of all ranks, summed; likewise
  std::int64_t first_half = 0;
};

/// What returns for a row from each rank that holds experts of it.
enum class Combine {
  kExact,  ///< one row per reduction group: the same bits for any number of ranks
  kFast,   ///< one row: fewer bytes, but the sum hangs on which experts share a rank
};

/// Whether rows travel while experts compute.
enum class Overlap { kOff, kOn };

/// How rows travel out; sums always return directly.
enum class Algorithm {
  kAuto,       ///< by size, from the facts of the link
  kAllGather,  ///< every rank sends all its rows to every other one, behind the counts: one message instead of three
  kDirect,     ///< each row to the ranks that need it, in chunks
};

struct ExchangeOptions {
  std::int64_t hidden = 0;
  WireType wire = WireType::kBfloat16;
  Combine combine = Combine::kExact;
  Overlap overlap = Overlap::kOn;
  Algorithm algorithm = Algorithm::kAuto;
  /// Chunks are joined to messages of at least so much, so that each pays for its latency.
  std::int64_t min_message_bytes = std::int64_t{128} << 10;
  LinkFacts link = {};     ///< from the start-up probe
  Trace* trace = nullptr;             ///< takes what happens when; may be null
  RoutingLog* routing_log = nullptr;  ///< takes what rows chose; may be null
};

struct ExchangeStatistics {
  std::uint64_t wire_bytes = 0;     ///< payload this rank sent to other ranks: rows out, expert weights and ids, rows back
  std::uint64_t minimum_bytes = 0;  ///< the rows among them, which this way to combine cannot avoid
  std::uint64_t naive_bytes = 0;    ///< an exchange without de-duplication: a row out and a row back for every (token, expert)
  std::uint64_t num_layers = 0;
  std::uint64_t gathered_layers = 0;  ///< of which this rank's rows travelled by all-gather
  std::int64_t num_pairs = 0;       ///< (token, expert) pairs that this rank's experts computed
  std::int64_t busiest_pairs = 0;   ///< those of the busiest expert in each layer, summed over layers
  double experts_seconds = 0;       ///< between receive() and give_back()
  double wait_seconds = 0;          ///< in which this rank had nothing to do but wait for bytes
  double alone_seconds = 0;         ///< what its bytes, in or out, would take alone at the rate of the start-up probe
  double cpu_seconds = 0;           ///< processor time, user and kernel, that moved bytes; waiting and polling not counted
};

/// The token all-to-all of one MoE layer, a pipeline over chunks of experts. Collective: every rank goes through one layer after
/// the other, with zero rows where it has none.
///
///   rows, routing --dispatch--> arrive | receive(0) compute give_back(0) | receive(1) compute give_back(1) | ... --combine--> sums
///
/// One row travels per (token, destination rank), in the order in which chunks need them; back comes one row per (token,
/// reduction group), already weighted and summed, or one float32 row per (token, expert) where a group is split between ranks.
/// While a layer is under way, the team looks after its messages between tasks.
class Exchange {
 public:
  virtual ~Exchange() = default;

  /// Sends rows [routing.num_rows, hidden], float32 whose values are representable in the wire type, and waits for nobody. They
  /// must stay as they are until combine(): where all of them stay on this rank, the work refers to them.
  virtual void dispatch(std::span<const float> rows, const cluster::Routing& routing, const Notice& notice) = 0;
  /// Waits for the counts of all ranks and for what says where their rows go.
  virtual Census arrive() = 0;

  /// The chunks that this rank computes in the layer, at least one; other ranks may have more or fewer.
  virtual std::int64_t num_chunks() const = 0;
  /// Waits for the rows of a chunk. Each chunk once, in order; the work is valid until combine().
  virtual cluster::ExpertWork receive(std::int64_t chunk) = 0;
  /// slots [work.num_slots, hidden] float32, as ExpertWork says, of which the chunk's assignments are done; they must stay
  /// until combine(). They are rounded, once per reduction group, when they leave or are summed.
  virtual void give_back(std::int64_t chunk, std::span<const float> slots) = 0;

  /// values [num_rows, hidden] += per row the float32 sum of its groups in ascending order.
  virtual void combine(std::span<float> values) = 0;

  /// A second exchange, on lanes of its own, so that two layers may be under way at a time: the two of a pair of micro-batches.
  /// All ranks use the two in the same order. Statistics and trace are those of both.
  virtual Exchange& twin() = 0;

  virtual ExchangeStatistics statistics() const = 0;
  /// How this rank's rows of the last layer travelled: "direct" or "allgather".
  virtual std::string_view algorithm() const = 0;
};

/// How rows will travel with these options, for the log.
std::string describe_choice(const ExchangeOptions& options);

/// The exchange over a communicator, which must outlive it like placement and team. Placement and options must be the same on
/// every rank (compare them with require_same); an exchange in which ranks disagree ends with Error(kPeerLost).
std::unique_ptr<Exchange> make_exchange(Communicator& comm, const cluster::Placement& placement, ThreadTeam& team,
                                        const ExchangeOptions& options);

}  // namespace unmask::comm
