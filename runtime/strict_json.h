// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace unmask::runtime {

/// Parses JSON that nobody vouches for. Throws Error(kBadInput), naming `name` and the byte, for: more than `max_bytes`, a
/// syntax error, invalid UTF-8, a NUL byte, a number beyond double, a key given twice in an object, nesting deeper than 64,
/// more than ten million values. Whitespace may follow; nothing else may.
nlohmann::json parse_json_strictly(std::string_view text, std::string_view name, std::uint64_t max_bytes);

/// What a value is, short enough for a message: `"abc"`, `2.5`, `null`, `an array of 3`, `an object`.
std::string describe(const nlohmann::json& value);

/// Text of unknown origin, made fit for a message: at most 80 bytes, all that is not printable ASCII replaced by '?'.
std::string printable(std::string_view text);

}  // namespace unmask::runtime
