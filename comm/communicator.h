// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/types.h"

namespace unmask::comm {

using Bytes = std::vector<std::byte>;
class PointToPoint;

/// How long a wait may take before the peer counts as lost; zero waits for ever.
struct Deadline {
  std::chrono::duration<double> limit{60.0};
};

/// One rank's end of the job: who it is, and the blocking collectives of start-up and shutdown. All ranks call them in the
/// same order. Every wait polls politely and has a deadline (Error kPeerLost, naming the peer, the operation and the bytes).
/// Used by one thread at a time. Implementations: comm/mpi (one process a rank), comm/threads (one thread a rank).
/// Shutdown: each rank polls until it has every message it expects, all ranks meet in barrier(), then the communicators die, then
/// the MPI session. A communicator that dies outside an exception waits (to the deadline) for its own posts to be taken.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual Rank rank() const = 0;
  virtual std::int64_t num_ranks() const = 0;
  virtual const std::string& host() const = 0;           ///< this rank's host name
  virtual std::int64_t num_ranks_on_host() const = 0;    ///< ranks that share this host's memory, this one included
  virtual std::int64_t rank_on_host() const = 0;
  virtual std::string_view transport() const = 0;        ///< "mpi" or "threads"

  /// From now on; not collective, but all ranks should wait equally long. Loading takes its time on some ranks, steps do not.
  virtual void set_deadline(Deadline deadline) = 0;

  bool is_root() const { return rank() == Rank(0); }

  /// Everyone's bytes, by rank. Sizes may differ.
  virtual std::vector<Bytes> all_gather(std::span<const std::byte> mine) = 0;
  /// The root's bytes, on every rank.
  virtual Bytes broadcast(std::span<const std::byte> mine, Rank root) = 0;
  virtual void barrier() = 0;

  /// Point to point, not collective: a message that the rank finds with poll(), in order per sender. The bytes are copied. For
  /// requests on their way to the ranks, results and drafts on their way to the launcher; a message to oneself works too.
  virtual void post(Rank to, std::span<const std::byte> message) = 0;
  void post_to_root(std::span<const std::byte> message) { post(Rank(0), message); }
  struct Posted {
    Rank from;
    Bytes message;
  };
  /// The next message posted to this rank that has arrived, if any. Never waits.
  virtual std::optional<Posted> poll() = 0;

  /// The messages below, for what is built on them (make_exchange).
  virtual PointToPoint& wires() = 0;

  /// Ends the whole job now with this exit code (MPI_Abort); for errors that cannot be agreed upon.
  [[noreturn]] virtual void abort(int exit_code) = 0;
};

}  // namespace unmask::comm
