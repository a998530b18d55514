// SPDX-License-Identifier: Apache-2.0
#include "comm/mpi/library.h"

#include <mpi.h>

#include "comm/mpi/check.h"

namespace unmask::comm::mpi {

std::string library_version() {
  std::string text(MPI_MAX_LIBRARY_VERSION_STRING, '\0');
  int length = 0;
  check(MPI_Get_library_version(text.data(), &length), {"MPI_Get_library_version"});
  text.resize(static_cast<std::size_t>(length));
  return text.substr(0, text.find_first_of("\n,"));
}

}  // namespace unmask::comm::mpi
