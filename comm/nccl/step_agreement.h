// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "comm/exchange.h"

namespace unmask::comm {

/// What a rank brings to a step.
struct StepRows {
  std::int64_t rows = 0;
  std::int64_t wanted = 0;  ///< of them: rows that the last layer still computes
  std::int64_t sequences = 0;
  bool is_guided = false;   ///< whether pairs of rows are joined in front of the head
  bool operator==(const StepRows&) const = default;
};

/// What all ranks know of a step before it begins.
struct AgreedStep {
  Vote votes = Vote::kIdle;     ///< of all ranks
  std::vector<StepRows> ranks;  ///< by rank
};

/// The one word that ranks with GPUs exchange through their hosts in a step: with it every size in the step is known before
/// anything is queued, so that no layer waits for a host. One message to every rank, and one from every rank.
///
///   host:    | agree | queue step |          | agree | queue step | ...
///   device:                 | layers, exchanges ...         |
class StepAgreement {
 public:
  explicit StepAgreement(Communicator& comm) : comm_(comm) {}

  /// Collective. Error(kPeerLost) where a rank does not come, is in another step, or says what cannot be.
  AgreedStep agree(Vote vote, const StepRows& mine);

 private:
  Communicator& comm_;
  std::uint64_t step_ = 0;
};

/// Rows as buffers, grids and messages are made for them: up in steps of 16 to 256, of 64 to 1024, then of 256. None: none.
std::int64_t size_class(std::int64_t rows);

/// For how many rows of each rank a step is made; a captured step serves all steps of its shape. The same on every rank.
struct StepShape {
  std::vector<std::int64_t> rows, wanted;  ///< by rank
  std::int64_t sequences = 0;              ///< of any rank, a power of two
  bool is_guided = false;                  ///< on any rank
  bool operator==(const StepShape&) const = default;
};
/// Where no rank has many rows, all are given room for the most that any has: that costs little, and there are as few shapes as
/// classes. Else each rank has a class of its own.
StepShape shape_of(const AgreedStep& step);

/// The least shape whose buffers serve both; guidance takes none. All ranks have seen the same shapes, so all decide alike when what they have is too small.
StepShape room_for(const StepShape& a, const StepShape& b);

}  // namespace unmask::comm
