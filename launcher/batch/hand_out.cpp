// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/hand_out.h"

#include "runtime/sequence.h"

namespace unmask::launcher {
namespace {

constexpr std::int64_t kReserve = 8;  ///< the room and 1 / kReserve more

}  // namespace

HandOut::HandOut(std::vector<RankRoom> rooms, BytesOf bytes_of)
    : rooms_(std::move(rooms)), bytes_of_(std::move(bytes_of)), loads_(rooms_.size()), num_given_(rooms_.size()) {}

bool HandOut::has_room(std::size_t rank, const Load& more) const {
  const Load& load = loads_[rank];
  const RankRoom& room = rooms_[rank];
  return load.requests == 0 || (load.rows + more.rows <= room.rows + room.rows / kReserve &&
                                load.bytes + more.bytes <= room.bytes + room.bytes / kReserve);
}

std::optional<Rank> HandOut::place(const runtime::Request& request) {
  const Load more{.rows_to_come = runtime::predicted_rows(request),
                  .rows = runtime::usual_rows(request),
                  .bytes = bytes_of_(request),
                  .requests = 1};
  std::optional<std::size_t> best;
  for (std::size_t rank = 0; rank < loads_.size(); ++rank) {
    if (has_room(rank, more) && (!best || loads_[rank].rows_to_come < loads_[*best].rows_to_come)) {
      best = rank;
    }
  }
  if (!best) {
    return std::nullopt;
  }
  Load& load = loads_[*best];
  load = {load.rows_to_come + more.rows_to_come, load.rows + more.rows, load.bytes + more.bytes, load.requests + 1};
  ++num_given_[*best];
  out_.emplace(request.number, Out{Rank(*best), more});
  return Rank(*best);
}

void HandOut::remove(std::int64_t number) {
  const auto at = out_.find(number);
  UNMASK_CHECK(at != out_.end(), "request {} was not handed out", number);
  Load& load = loads_[at->second.rank.at()];
  const Load& less = at->second.load;
  load = {load.rows_to_come - less.rows_to_come, load.rows - less.rows, load.bytes - less.bytes, load.requests - 1};
  if (load.requests == 0) {
    load.rows_to_come = 0;  // no rounding is left over
  }
  out_.erase(at);
}

}  // namespace unmask::launcher
