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

/// Rows and sums travel in smaller pieces, below the eager limit of Open MPI's TCP transport (64 KiB with its header). Such pieces
/// leave one behind the other as they were issued, where larger messages would each wait for the receiver's leave and then share
/// the link: the first chunk of a layer would come as late as the last.
inline constexpr std::int64_t kRowPieceBytes = std::int64_t{60} << 10;
constexpr std::int64_t piece_bytes_on(Lane lane) { return carries_rows(lane) ? kRowPieceBytes : kMaxPieceBytes; }

std::unique_ptr<Operation> start_send(MPI_Comm comm, const Operation::Description& what, const std::byte* bytes);
std::unique_ptr<Operation> start_receive(MPI_Comm comm, const Operation::Description& what, std::byte* bytes);

}  // namespace unmask::comm::mpi
