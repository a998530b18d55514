// SPDX-License-Identifier: Apache-2.0
#include "comm/wire_format.h"

#include <cstring>

#include "base/bfloat16.h"
#include "base/types.h"

namespace unmask::comm {
namespace {

#include "comm/wire_loops.inc.h"

const WireLoops& loops() {
  static const WireLoops& best = has_avx512() ? avx512_wire_loops() : has_avx2() ? avx2_wire_loops() : plain_wire_loops();
  return best;
}

}  // namespace

const WireLoops& plain_wire_loops() {
  static constexpr WireLoops kLoops = {encode_bfloat16, decode_bfloat16, add_bfloat16, add_float32, add_rounded_bfloat16};
  return kLoops;
}

bool has_avx2() { return __builtin_cpu_supports("avx2"); }
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

std::byte* encode(const float* values, std::int64_t count, WireType type, std::byte* out) {
  if (type == WireType::kBfloat16) {
    loops().encode(values, count, out);
  } else if (count > 0) {
    std::memcpy(out, values, size(count) * sizeof(float));
  }
  return out + count * value_bytes(type);
}

const std::byte* decode(const std::byte* in, std::int64_t count, WireType type, float* values) {
  if (type == WireType::kBfloat16) {
    loops().decode(in, count, values);
  } else if (count > 0) {
    std::memcpy(values, in, size(count) * sizeof(float));
  }
  return in + count * value_bytes(type);
}

void add_encoded(const std::byte* in, std::int64_t count, WireType type, float* sums) {
  if (type == WireType::kBfloat16) {
    loops().add(in, count, sums);
  } else {
    loops().add_float32(in, count, sums);
  }
}

void add_rounded(WireType type, const float* addends, std::int64_t count, float* sums) {
  if (type == WireType::kBfloat16) {
    loops().add_rounded(addends, count, sums);
  } else {
    loops().add_float32(reinterpret_cast<const std::byte*>(addends), count, sums);
  }
}

}  // namespace unmask::comm
