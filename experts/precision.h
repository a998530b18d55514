// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace unmask::experts {

/// To what a kernel rounds the values it hands on as inputs of a matrix product, keys, values and rows that travel.
enum class Precision { kBfloat16, kFloat32 };

}  // namespace unmask::experts
