// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/thread_team.h"
#include "comm/accounts.h"
#include "comm/arrivals.h"
#include "comm/chunks.h"
#include "comm/exchange.h"
#include "comm/flight.h"
#include "comm/message_buffers.h"
#include "comm/message_plan.h"
#include "comm/parcel.h"
#include "comm/point_to_point.h"
#include "comm/return_plan.h"
#include "comm/row_block.h"
#include "comm/row_sums.h"
#include "comm/transit.h"

namespace unmask::comm {

/// The exchange by direct messages between all pairs of ranks. One layer on a lane, from one rank to another:
///
///   dispatch:  head | routing | rows of chunk 0 | rows of chunk 1 | ...     rows already sent for an earlier chunk stay away
///   combine:   sums that chunk 0 ended | sums that chunk 1 ended | ...
///
/// Heads, routing and all rows leave at once, one behind the other. Each rank cuts what is too small for a message together;
/// both ends of a message find its size in the routing.
class TokenExchange final : public Exchange {
 public:
  TokenExchange(PointToPoint& wires, const cluster::Placement& placement, ThreadTeam& team, const ExchangeOptions& options);
  ~TokenExchange() override;

  void dispatch(std::span<const float> rows, const cluster::Routing& routing, const Notice& notice) override;
  Census arrive() override;
  std::int64_t num_chunks() const override { return std::ssize(chunk_ends_); }
  cluster::ExpertWork receive(std::int64_t chunk) override;
  void give_back(std::int64_t chunk, std::span<const float> slots) override;
  void combine(std::span<float> values) override;
  Exchange& twin() override;
  ExchangeStatistics statistics() const override { return accounts_.summary(options_.link); }
  std::string_view algorithm() const override { return own_way_ == Way::kBlock ? "allgather" : "direct"; }

 private:
  /// What this rank knows of another one in this layer; of itself, only what returns.
  struct Peer {
    ParcelHead head;     ///< that came from it
    ReadBlock block;     ///< behind the head
    Parcel parcel;       ///< that came from it
    ReturnPlan back;     ///< what goes back to it
    ReturnPlan returns;  ///< what it returns for the parcel it got
  };

  TokenExchange(PointToPoint& wires, const cluster::Placement& placement, ThreadTeam& team, const ExchangeOptions& options, TokenExchange* first);

  template <class Task>
  void spread(std::int64_t count, const Task& task);
  void wait(Flight& flight);
  void wait(Transit& transit, std::size_t leg);
  void look();
  void nudge();
  Transit make_transit(std::string_view operation, Trace::Track track);
  void now_doing(std::string_view what, std::int64_t chunk = -1) { accounts_.team_does(what, number_, chunk); }

  void plan_out();
  std::span<const std::int64_t> row_bytes(const Parcel& parcel);
  void send_heads(const Notice& notice, const cluster::Routing& routing);
  void send_routing();
  void expect_returns();
  void send_rows();
  Census receive_heads();
  void check_head(Rank from) const;
  void receive_routing();
  void read_blocks();
  void agree_on_next_block();
  void take_block_rows();
  void plan_in();
  void find_chunk_ends();
  void take_own_rows();
  void take_rows(const MessagePlan::Message& message);

  PointToPoint& wires_;
  const JobView& job_;
  const cluster::Placement& placement_;
  ThreadTeam& team_;
  ExchangeOptions options_;
  std::unique_ptr<Accounts> own_accounts_;  ///< of the first of the two
  Accounts& accounts_;
  Lane dispatch_lane_, combine_lane_;
  TokenExchange* other_ = nullptr;          ///< of two, the one that this is not
  ChunkGrid grid_;
  Packer packer_;
  Arrivals arrivals_;
  RowSums row_sums_;
  std::vector<SumUnits> units_;  ///< by rank
  std::vector<Peer> peers_;      ///< by rank
  MessagePlan plan_rows_out_, plan_rows_in_, plan_back_, plan_returns_;
  std::vector<std::int64_t> chunk_ends_;  ///< of the chunks in which this rank computes, on the grid
  std::vector<std::int64_t> row_bytes_;

  std::int64_t block_capacity_ = 0;  ///< bytes behind every head of this layer
  std::int64_t top_k_ = 0;
  enum class Way : std::uint8_t { kMessages, kBlock };
  Way own_way_ = Way::kMessages;     ///< of this rank's rows in this layer
  Packer block_packer_;              ///< of other ranks' blocks
  std::vector<Parcel> block_parcels_;

  MessageBuffers heads_out_, heads_in_;
  MessageBuffers rows_out_, rows_in_, back_out_, back_in_, routing_out_, routing_in_;
  std::vector<Parcel> parcels_out_;  ///< by rank, the own one among them
  AlignedBuffer<float> row_values_;
  std::span<const float> own_input_, rows_, slots_;

  std::uint32_t layer_ = 0;   ///< how many this exchange has begun, its twin not counted
  std::int64_t number_ = 0;   ///< of the layer, for the trace
  bool is_under_way_ = false;
  Census census_;             ///< as far as this rank knows alone

  // Messages under way, which die before the buffers they use.
  Flight heads_;
  Transit rows_sent_, rows_received_, sums_sent_, sums_received_;

  std::unique_ptr<TokenExchange> twin_;
};

}  // namespace unmask::comm
