// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/bfloat16.h"

namespace unmask::runtime {

/// The element types that weights may be stored in.
enum class FloatType { kBf16, kF16, kF32 };

inline std::uint64_t bytes_of(FloatType type) { return type == FloatType::kF32 ? 4 : 2; }

/// The float that an IEEE half means; infinities and NaNs stay what they are.
float float_of_half(std::uint16_t bits);

/// The position of the first value that is infinite or not a number.
std::optional<std::int64_t> find_not_finite(std::span<const bfloat16> values);

/// Reads `stored` as values of `type` and writes them as bfloat16 (rounded to nearest even) or float32. Returns the position
/// of the first value that is not finite, before or after rounding.
std::optional<std::int64_t> convert(FloatType type, std::span<const std::byte> stored, std::span<bfloat16> result);
std::optional<std::int64_t> convert(FloatType type, std::span<const std::byte> stored, std::span<float> result);

}  // namespace unmask::runtime
