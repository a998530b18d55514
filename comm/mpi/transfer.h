// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mpi.h>

#include <memory>

#include "comm/point_to_point.h"

namespace unmask::comm::mpi {

/// Messages are told apart by their lane's communicator and their order, so one tag serves all.
inline constexpr int kTag = 0;

/// A longer message travels as several, cut alike on both sides: far below MPI's int, and a piece that arrives is progress
/// to be seen by a wait that would otherwise give up on a slow link.
inline constexpr std::int64_t kMaxPieceBytes = std::int64_t{1} << 26;

std::unique_ptr<Operation> start_send(MPI_Comm comm, const Operation::Description& what, const std::byte* bytes);
std::unique_ptr<Operation> start_receive(MPI_Comm comm, const Operation::Description& what, std::byte* bytes);

}  // namespace unmask::comm::mpi
