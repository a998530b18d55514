// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "launcher/options/option_spec.h"

namespace unmask::launcher {

/// unmask(1), as source for man.
std::string program_man_page(std::string_view version);
/// unmask-COMMAND(1).
std::string command_man_page(Command command, std::string_view version);

}  // namespace unmask::launcher
