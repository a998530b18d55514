// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by files compiled for one instruction set. base/bfloat16.h has inline functions, which
// the linker might share with other files: the same code again, for this file alone.
struct bfloat16 {
  std::uint16_t bits = 0;
};
inline float to_float(bfloat16 x) { return __builtin_bit_cast(float, static_cast<std::uint32_t>(x.bits) << 16); }
inline bfloat16 to_bfloat16(float x) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t nan = (bits >> 16) | 0x40U;
  const std::uint32_t number = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  return {static_cast<std::uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? nan : number)};
}
inline float round_to_bfloat16(float x) { return to_float(to_bfloat16(x)); }
