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

/// sums[i] += the i-th value of `in`.
void add_encoded(const std::byte* in, std::int64_t count, WireType type, float* sums);

/// sums[i] += addends[i] rounded to the type, in one pass.
void add_rounded(WireType type, const float* addends, std::int64_t count, float* sums);

/// The loops behind these for one instruction set.
struct WireLoops {
  void (*encode)(const float*, std::int64_t, std::byte*);
  void (*decode)(const std::byte*, std::int64_t, float*);
  void (*add)(const std::byte*, std::int64_t, float*);
  void (*add_float32)(const std::byte*, std::int64_t, float*);
  void (*add_rounded)(const float*, std::int64_t, float*);
};
const WireLoops& plain_wire_loops();
const WireLoops& avx2_wire_loops();    ///< where has_avx2()
const WireLoops& avx512_wire_loops();  ///< where has_avx512()
bool has_avx2();
bool has_avx512();

}  // namespace unmask::comm
