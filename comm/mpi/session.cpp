// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi/session.h"

#include <mpi.h>

#include <exception>

#include "base/error.h"
#include "comm/mpi/check.h"
#include "comm/mpi/mpi_communicator.h"

namespace unmask::comm::mpi {

Session::Session(int* argc, char*** argv) {
  int provided = MPI_THREAD_SINGLE;
  check(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), {"MPI_Init_thread"});
  require(provided >= MPI_THREAD_FUNNELED, ExitCode::kUsage,
          "expected an MPI library that allows threads beside it (MPI_THREAD_FUNNELED), found level {}: use another one",
          provided);
}

Session::~Session() {
  if (std::uncaught_exceptions() > 0) {
    MPI_Abort(MPI_COMM_WORLD, static_cast<int>(ExitCode::kPeerLost));
  }
  MPI_Finalize();
}

std::unique_ptr<Communicator> Session::world(Deadline deadline, cluster::RankRecord* record) {
  return make_mpi_communicator(MPI_COMM_WORLD, deadline, record);
}

}  // namespace unmask::comm::mpi
