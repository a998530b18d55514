// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi/check.h"

#include <array>
#include <string>

#include "base/error.h"

namespace unmask::comm::mpi {

void check(int code, const Call& call) {
  if (code == MPI_SUCCESS) [[likely]] {
    return;
  }
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) {
    length = 0;
  }
  fail(ExitCode::kPeerLost, "{}{}{} failed with code {}: {}", call.function,
       call.peer >= 0 ? format(", peer rank {}", call.peer) : "", call.bytes >= 0 ? format(", {} bytes", call.bytes) : "", code,
       length > 0 ? text.data() : "unknown error");
}

void CommTraits::close(MPI_Comm comm) noexcept {
  int finalized = 0;
  if (MPI_Finalized(&finalized) == MPI_SUCCESS && finalized == 0) {
    MPI_Comm_free(&comm);
  }
}

CommHandle duplicate(MPI_Comm parent) {
  MPI_Comm comm = MPI_COMM_NULL;
  check(MPI_Comm_dup(parent, &comm), {"MPI_Comm_dup"});
  CommHandle handle(comm);
  check(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), {"MPI_Comm_set_errhandler"});
  return handle;
}

}  // namespace unmask::comm::mpi
