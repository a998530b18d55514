// SPDX-License-Identifier: Apache-2.0
// Matrices of int8 as experts/quantised.h lays them out, for device code; grouped_choice.cpp compares the numbers.
#pragma once

#include <cstdint>

namespace unmask::experts::cuda {

inline constexpr int kPanelOutputs = 16;
inline constexpr int kGroupInputs = 64;                       ///< that share a scale
inline constexpr int kGroupNumbers = kGroupInputs * kPanelOutputs;  ///< bytes of a panel's group: [input][output]
inline constexpr int kGroupScales = kPanelOutputs * 2;        ///< bytes
inline constexpr std::int64_t kBlockScales = 2 * kGroupScales;  ///< in front of a block's numbers, those of two groups
inline constexpr std::int64_t kBlockBytes = kBlockScales + 2 * kGroupNumbers;

}  // namespace unmask::experts::cuda
