// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "comm/communicator.h"

namespace unmask::comm::test {

/// What any transport must do; every rank calls them in turn. EXPECTs only, so that all ranks come to the end.

void check_identity(Communicator& comm);
void check_all_gather(Communicator& comm, std::size_t large_bytes);
void check_broadcast(Communicator& comm, std::size_t large_bytes);
void check_barrier_holds_everyone_back(Communicator& comm);
/// Every rank posts `count` messages of growing size and the odd large one to every rank before anybody polls.
void check_posts(Communicator& comm, std::int64_t count);
void check_require_same(Communicator& comm);
void check_agree(Communicator& comm);

}  // namespace unmask::comm::test
