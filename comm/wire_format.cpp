// SPDX-License-Identifier: Apache-2.0
#include "comm/wire_format.h"

#include <cstring>

#include "base/bfloat16.h"
#include "base/types.h"

namespace unmask::comm {
namespace {

// memcpy, because a row may begin at an odd address; compilers turn it into plain (vector) moves.
template <class T>
void put(std::byte* out, std::int64_t i, T value) {
  std::memcpy(out + i * static_cast<std::int64_t>(sizeof(T)), &value, sizeof(T));
}
template <class T>
T get(const std::byte* in, std::int64_t i) {
  T value;
  std::memcpy(&value, in + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

}  // namespace

std::byte* encode(const float* values, std::int64_t count, WireType type, std::byte* out) {
  if (type == WireType::kBfloat16) {
    for (std::int64_t i = 0; i < count; ++i) {
      put(out, i, to_bfloat16(values[i]).bits);
    }
  } else if (count > 0) {
    std::memcpy(out, values, size(count) * sizeof(float));
  }
  return out + count * value_bytes(type);
}

const std::byte* decode(const std::byte* in, std::int64_t count, WireType type, float* values) {
  if (type == WireType::kBfloat16) {
    for (std::int64_t i = 0; i < count; ++i) {
      values[i] = to_float(bfloat16{get<std::uint16_t>(in, i)});
    }
  } else if (count > 0) {
    std::memcpy(values, in, size(count) * sizeof(float));
  }
  return in + count * value_bytes(type);
}

void add_rounded(WireType type, const float* addends, std::int64_t count, float* sums) {
  if (type == WireType::kBfloat16) {
    for (std::int64_t i = 0; i < count; ++i) {
      sums[i] += round_to_bfloat16(addends[i]);
    }
  } else {
    add(addends, count, sums);
  }
}

void add(const float* addends, std::int64_t count, float* sums) {
  for (std::int64_t i = 0; i < count; ++i) {
    sums[i] += addends[i];
  }
}

}  // namespace unmask::comm
