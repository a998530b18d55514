// SPDX-License-Identifier: Apache-2.0
// The loops of the wire compiled for AVX-512; every function but the accessor is in an anonymous namespace, so that no other
// file can be linked to code of this instruction set.
#include <cstring>

#include "comm/wire_format.h"

namespace unmask::comm {
namespace {

#include "comm/wire_bfloat16.inc.h"
#include "comm/wire_loops.inc.h"

}  // namespace

const WireLoops& avx512_wire_loops() {
  static constexpr WireLoops kLoops = {encode_bfloat16, decode_bfloat16, add_bfloat16, add_float32, add_rounded_bfloat16};
  return kLoops;
}

}  // namespace unmask::comm
