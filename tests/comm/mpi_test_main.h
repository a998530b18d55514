// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "comm/communicator.h"

namespace unmask::comm::test {

/// All ranks of the test, from mpi_test_main.cpp. A test EXPECTs before collectives and never ASSERTs: a rank that leaves a
/// test early leaves the others waiting.
Communicator& world();

}  // namespace unmask::comm::test
