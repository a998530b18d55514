// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mpi.h>

#include <cstdint>

#include "base/unique_handle.h"

namespace unmask::comm::mpi {

/// An MPI call, for its error message.
struct Call {
  const char* function = "";
  std::int32_t peer = -1;   ///< rank, or -1 where there is none
  std::int64_t bytes = -1;  ///< -1 where there are none
};

/// The one place where MPI's return codes are looked at: Error(kPeerLost) with call, peer, bytes and MPI's own words.
/// Communicators of ours return errors (MPI_ERRORS_RETURN) instead of ending the job.
void check(int code, const Call& call);

/// A communicator of our own.
struct CommTraits {
  using Value = MPI_Comm;
  static MPI_Comm empty() { return MPI_COMM_NULL; }
  static void close(MPI_Comm comm) noexcept;
};
using CommHandle = UniqueHandle<CommTraits>;

/// A duplicate of `parent` that returns errors. Collective over `parent`.
CommHandle duplicate(MPI_Comm parent);

}  // namespace unmask::comm::mpi
