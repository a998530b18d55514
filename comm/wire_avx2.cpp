// SPDX-License-Identifier: Apache-2.0
// The loops of the wire compiled for AVX2, as wire_avx512.cpp for AVX-512.
#include <cstring>

#include "comm/wire_format.h"

namespace unmask::comm {
namespace {

#include "comm/wire_bfloat16.inc.h"
#include "comm/wire_loops.inc.h"

}  // namespace

const WireLoops& avx2_wire_loops() {
  static constexpr WireLoops kLoops = {encode_bfloat16, decode_bfloat16, add_bfloat16, add_float32, add_rounded_bfloat16};
  return kLoops;
}

}  // namespace unmask::comm
