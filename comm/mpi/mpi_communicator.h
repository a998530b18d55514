// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mpi.h>

#include <memory>

#include "cluster/rank_record.h"
#include "comm/communicator.h"

namespace unmask::comm::mpi {

/// A Communicator over duplicates of the caller's communicator, one per lane; the caller's own is not touched again, its
/// error handler never. Collective over `parent`. Must die before MPI_Finalize.
std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm parent, Deadline deadline, cluster::RankRecord* record = nullptr);

}  // namespace unmask::comm::mpi
