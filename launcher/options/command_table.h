// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>

#include "launcher/options/option_spec.h"

namespace unmask::launcher {

struct CommandSpec {
  Command command;
  std::string_view name;
  std::string_view summary;  ///< one line
  std::string_view details;  ///< for the command's own help; lines at most 100 wide
  std::string_view example;
};

/// Every command, in the order of the help and of the enumerators.
extern const std::array<CommandSpec, 6> kCommands;

const CommandSpec& spec_of(Command command);

}  // namespace unmask::launcher
