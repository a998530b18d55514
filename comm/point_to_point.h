// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "comm/communicator.h"

namespace unmask::comm {

/// Streams of messages that never meet: a late row of one never matches a receive of another. Over MPI each has a duplicated
/// communicator of its own. On one lane, messages between two ranks arrive in the order in which they were sent.
enum class Lane { kDispatch, kCombine, kTwinDispatch, kTwinCombine, kControl, kPost, kBeat };
inline constexpr std::size_t kNumLanes = 7;
std::string_view name(Lane lane);
constexpr bool carries_rows(Lane lane) { return lane <= Lane::kTwinCombine; }

/// One message in flight. The bytes it was started with must live until test() was true or it is destroyed; destroyed before,
/// a receive is cancelled.
class Operation {
 public:
  enum class Kind { kSend, kReceive };
  struct Description {
    Kind kind = Kind::kSend;
    Lane lane = Lane::kControl;
    Rank peer;
    std::int64_t bytes = 0;
  };

  explicit Operation(const Description& description) : description_(description) {}
  virtual ~Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  /// Drives the transport; true once the message is out (or in). Error(kPeerLost) where it failed or has another size.
  virtual bool test() = 0;
  virtual std::int64_t bytes_done() const = 0;
  const Description& description() const { return description_; }

 private:
  Description description_;
};

/// Who takes part, as one rank sees it.
struct JobView {
  Rank rank;
  std::vector<std::string> hosts;  ///< by rank
  std::int64_t num_ranks_on_host = 1;
  std::int64_t rank_on_host = 0;
  Deadline deadline;

  std::int64_t num_ranks() const { return static_cast<std::int64_t>(hosts.size()); }
};

/// Calls visit(peer) for every other rank, beginning with the next one, so that not all ranks turn to rank 0 first.
template <class Visit>
void for_each_peer(const JobView& job, Visit visit) {
  for (std::int64_t step = 1; step < job.num_ranks(); ++step) {
    visit(Rank((job.rank.value + step) % job.num_ranks()));
  }
}

/// A wait, as far as it has come.
struct Wait {
  std::string_view operation;
  Rank awaited;
  std::chrono::duration<double> waited{};  ///< since anything moved
};

/// Whom a wait has been in vain for.
struct Overdue {
  Rank rank;  ///< the awaited one, or another one that it must be waiting for itself
  std::chrono::duration<double> silence{};
  std::string_view why;
};

/// What a transport has to provide: messages between two ranks whose size both of them know. Everything else (waiting,
/// collectives, the exchange) is built once on top. Used by one thread at a time.
class PointToPoint {
 public:
  virtual ~PointToPoint() = default;

  virtual const JobView& job() const = 0;
  virtual void set_deadline(Deadline deadline) = 0;
  virtual std::string_view transport() const = 0;

  virtual std::unique_ptr<Operation> start_send(Lane lane, Rank to, std::span<const std::byte> bytes) = 0;
  virtual std::unique_ptr<Operation> start_receive(Lane lane, Rank from, std::span<std::byte> bytes) = 0;

  /// A message that has arrived on the lane (its beginning at least) and that no receive was started for.
  struct Incoming {
    Rank from;
    std::int64_t bytes = 0;
  };
  virtual std::optional<Incoming> probe(Lane lane) = 0;
  /// The largest message that probe() sees as one.
  virtual std::int64_t max_probed_bytes() const = 0;

  /// Nothing to do: gives the core away, at most for so long, less if the transport can tell that something arrived.
  virtual void rest(std::chrono::microseconds at_most) = 0;

  /// For the watch over all ranks (comm/watched_wires.h). works(): this rank lives and goes on, also where it sends nothing.
  virtual void works() {}
  /// To be asked now and then in every wait: an answer means to give up.
  virtual std::optional<Overdue> waits(const Wait& wait) {
    const auto limit = job().deadline.limit;
    return limit.count() > 0 && wait.waited > limit ? std::optional(Overdue{wait.awaited, limit, ""}) : std::nullopt;
  }
  virtual void set_verification(Verification /*verification*/) {}

  [[noreturn]] virtual void abort(int exit_code) = 0;
};

}  // namespace unmask::comm
