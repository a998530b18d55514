// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "cluster/rank_record.h"
#include "comm/communicator.h"

namespace unmask::comm::mpi {

/// MPI from init to finalize, for main: everything that uses MPI must die before. Only the thread that made it calls MPI
/// (MPI_THREAD_FUNNELED). Errors are to be caught inside its scope and ended with Communicator::abort; an exception that
/// leaves the scope ends the job with exit code 4, since finalizing would wait for ranks that know nothing of it.
class Session {
 public:
  Session(int* argc, char*** argv);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// All ranks of the job; see make_communicator for the record. Collective.
  std::unique_ptr<Communicator> world(Deadline deadline, cluster::RankRecord* record = nullptr);
};

}  // namespace unmask::comm::mpi
