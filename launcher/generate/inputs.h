// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "launcher/options/option_values.h"
#include "launcher/text/request_line.h"

namespace unmask::launcher {

/// What `generate` is to answer: the lines of --requests; else --prompt, then --prompt-tokens, then --messages, each in the
/// order given. The ids of the latter are their numbers from 1. Waits for standard input where that is asked for.
std::vector<RequestInput> read_inputs(const OptionValues& options);

}  // namespace unmask::launcher
