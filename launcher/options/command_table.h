// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include "launcher/options/option_spec.h"

namespace unmask::launcher {

struct CommandSpec {
  Command command;
  std::string_view name;
  std::string_view summary;  ///< one line
  std::string_view details;  ///< for the command's own help; lines at most 100 wide
  std::string_view example;
  std::string_view subject = {};  ///< the option that the first bare word behind the command stands for; empty: none
};

/// Every command, in the order of the help and of the enumerators.
std::span<const CommandSpec> command_table();

const CommandSpec& spec_of(Command command);

}  // namespace unmask::launcher
