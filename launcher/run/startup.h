// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "comm/communicator.h"
#include "launcher/io/output.h"
#include "launcher/options/command_line.h"
#include "launcher/text/request_line.h"

namespace unmask::launcher {

/// What rank 0 made of command line and environment, as every rank knows it.
struct Startup {
  std::optional<ExitCode> ended;     ///< nothing is left to do: help was printed, or the command line was wrong
  Invocation invocation;
  std::vector<RequestInput> inputs;  ///< on rank 0
};

/// Collective. Rank 0 alone parses (launchers do not carry the environment to other hosts), prints help and errors, and reads
/// the requests, for which the others wait as long as it takes.
Startup start_up(comm::Communicator& comm, const std::vector<std::string>& arguments, const Output& output);

}  // namespace unmask::launcher
