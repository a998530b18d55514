// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "runtime/chat/value.h"

namespace unmask::runtime::chat {

/// JSON as template values; every string and key has the origin given. Throws TemplateError: too deep, not UTF-8, an integer
/// beyond int64.
Value from_json(const nlohmann::ordered_json& json, Origin origin, int depth = 0);

}  // namespace unmask::runtime::chat
