// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "launcher/options/option_spec.h"

namespace unmask::launcher {

/// What `unmask --help` prints: the program on one screen.
std::string program_help();

/// What `unmask COMMAND --help` prints: every option of the command, by group, with units, ranges and defaults.
std::string command_help(Command command);

}  // namespace unmask::launcher
