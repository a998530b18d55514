// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "comm/exchange.h"

namespace unmask::comm {

/// Rows of `hidden` values as bytes, at any alignment.

constexpr std::int64_t value_bytes(WireType type) { return type == WireType::kBfloat16 ? 2 : 4; }

/// Writes `count` floats, rounded to the type; returns the end of what was written.
std::byte* encode(const float* values, std::int64_t count, WireType type, std::byte* out);

/// Reads `count` values; returns the end of what was read.
const std::byte* decode(const std::byte* in, std::int64_t count, WireType type, float* values);

/// sums[i] += addends[i] rounded to the type, in one pass.
void add_rounded(WireType type, const float* addends, std::int64_t count, float* sums);

/// sums[i] += addends[i].
void add(const float* addends, std::int64_t count, float* sums);

}  // namespace unmask::comm
