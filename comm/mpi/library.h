// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace unmask::comm::mpi {

/// What the MPI library says of itself, its first line.
std::string library_version();

}  // namespace unmask::comm::mpi
