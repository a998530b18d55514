// SPDX-License-Identifier: Apache-2.0
#include "runtime/tensor_values.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "base/types.h"

namespace unmask::runtime {
namespace {

constexpr std::uint16_t kExponent = 0x7f80;  // all ones in a bfloat16 that is infinite or not a number

template <class T>
T element(std::span<const std::byte> stored, std::size_t i) {
  T value;
  std::memcpy(&value, stored.data() + i * sizeof(T), sizeof(T));
  return value;
}

/// Applies `widen` to every stored element of type T and stores the result as Out.
template <class T, class Out, class Widen>
std::optional<std::int64_t> convert_all(std::span<const std::byte> stored, std::span<Out> result, const Widen& widen) {
  UNMASK_CHECK(stored.size() == result.size() * sizeof(T), "{} bytes for {} values", stored.size(), result.size());
  std::optional<std::int64_t> first;
  for (std::size_t i = 0; i < result.size(); ++i) {
    float value = widen(element<T>(stored, i));
    if constexpr (std::is_same_v<Out, bfloat16>) {
      result[i] = to_bfloat16(value);
      value = to_float(result[i]);
    } else {
      result[i] = value;
    }
    if (!std::isfinite(value) && !first) [[unlikely]] {
      first = static_cast<std::int64_t>(i);
    }
  }
  return first;
}

template <class Out>
std::optional<std::int64_t> convert_to(FloatType type, std::span<const std::byte> stored, std::span<Out> result) {
  switch (type) {
    case FloatType::kBf16:
      return convert_all<std::uint16_t>(stored, result, [](std::uint16_t bits) { return to_float(bfloat16{bits}); });
    case FloatType::kF16: return convert_all<std::uint16_t>(stored, result, float_of_half);
    case FloatType::kF32: return convert_all<float>(stored, result, [](float value) { return value; });
  }
  UNMASK_CHECK(false, "type {}", static_cast<int>(type));
}

}  // namespace

float float_of_half(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  const std::uint32_t magnitude = bits & 0x7fffU;
  if (magnitude >= 0x7c00U) {  // infinite or not a number: the exponent becomes all ones
    return std::bit_cast<float>(sign | 0x7f800000U | ((magnitude & 0x3ffU) << 13));
  }
  // Shifted into a float's fields, the exponent is 112 too small; the multiplication also normalises subnormal values.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | sign);
}

std::optional<std::int64_t> find_not_finite(std::span<const bfloat16> values) {
  // Four values a word: adding one at the exponent's lowest bit carries into the sign's place only where all its bits are set.
  constexpr std::size_t kBlock = 1024;
  constexpr std::uint64_t kLanes = 0x0001000100010001U;
  for (std::size_t begin = 0; begin < values.size(); begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, values.size());
    std::uint64_t found = 0;
    std::size_t i = begin;
    for (; i + 4 <= end; i += 4) {
      std::uint64_t four = 0;
      std::memcpy(&four, values.data() + i, sizeof(four));
      found |= ((four & (kExponent * kLanes)) + 0x0080 * kLanes) & (0x8000 * kLanes);
    }
    for (i = found != 0 ? begin : i; i < end; ++i) {
      if ((values[i].bits & kExponent) == kExponent) {
        return static_cast<std::int64_t>(i);
      }
    }
  }
  return std::nullopt;
}

std::optional<std::int64_t> convert(FloatType type, std::span<const std::byte> stored, std::span<bfloat16> result) {
  return convert_to(type, stored, result);
}

std::optional<std::int64_t> convert(FloatType type, std::span<const std::byte> stored, std::span<float> result) {
  return convert_to(type, stored, result);
}

}  // namespace unmask::runtime
