// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace unmask::launcher {

/// JSON text with the line ends that only Unicode knows (U+0085, U+2028, U+2029) escaped. They are legal inside strings, but a
/// reader that splits a file of JSON lines by Unicode's rules, as Python's str.splitlines() does, would cut there.
std::string as_json_line(std::string json);

}  // namespace unmask::launcher
