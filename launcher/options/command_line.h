// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/options/option_values.h"

namespace unmask::launcher {

/// What somebody asked the program to do.
struct Invocation {
  enum class Kind { kRun, kHelp, kCommandHelp, kVersion };
  Kind kind = Kind::kRun;
  Command command = Command::kGenerate;  ///< for kRun and kCommandHelp
  OptionValues values;                   ///< for kRun
};

using Environment = std::function<std::optional<std::string>(const std::string& name)>;
/// The environment of this process.
std::optional<std::string> process_environment(const std::string& name);

/// arguments: without the program's name. Throws Error(kUsage): unknown command or option (with the nearest name), a value
/// out of range, options that exclude each other.
Invocation parse_command_line(const std::vector<std::string>& arguments, const Environment& environment);

/// The nearest of `names` to what was typed, if it is near enough to be meant.
std::optional<std::string_view> nearest(std::string_view typed, const std::vector<std::string_view>& names);

}  // namespace unmask::launcher
