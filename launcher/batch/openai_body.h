// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "launcher/batch/batch_line.h"

namespace unmask::launcher {

/// Fills request and model from the body of a line whose envelope is right and whose form is known; `body` was parsed from `line`.
/// Throws Error(kBadInput) for what is wrong and for what cannot be honoured.
void take_openai_body(BatchLine& out, std::string_view line, const nlohmann::json& body);

}  // namespace unmask::launcher
