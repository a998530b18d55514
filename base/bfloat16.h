// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>

namespace unmask {

/// The upper half of an IEEE float: 8 exponent bits, 7 fraction bits. Storage only; arithmetic is done in float.
struct bfloat16 {
  std::uint16_t bits = 0;
};

inline float to_float(bfloat16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }

/// Rounds to nearest, ties to even; a NaN stays a (quiet) NaN.
inline bfloat16 to_bfloat16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffU) > 0x7f800000U) {
    return {static_cast<std::uint16_t>((bits >> 16) | 0x40U)};
  }
  return {static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
}

/// x rounded to bfloat16 precision, still a float.
inline float round_to_bfloat16(float x) { return to_float(to_bfloat16(x)); }

}  // namespace unmask
