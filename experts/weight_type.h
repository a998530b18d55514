// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace unmask::experts {

/// How each weight is stored. int8, int4: whole numbers times the scale of their group.
enum class WeightType : std::uint8_t { kBf16, kInt8, kInt4 };

}  // namespace unmask::experts
