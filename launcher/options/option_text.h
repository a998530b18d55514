// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

#include "launcher/options/option_spec.h"

namespace unmask::launcher {

// What help and man pages say of the option table.

inline constexpr std::array kOptionGroups = {OptionGroup::kModel, OptionGroup::kInput, OptionGroup::kSampling, OptionGroup::kOutput,
                                             OptionGroup::kMachine};

std::string_view title_of(OptionGroup group);
/// "  -o, --output FILE"
std::string usage_of(const OptionSpec& spec);
/// What it does, with its range and its default.
std::string description_of(const OptionSpec& spec);

struct ExitCodeText {
  int code;
  std::string_view text;
};
std::span<const ExitCodeText> exit_codes();

}  // namespace unmask::launcher
