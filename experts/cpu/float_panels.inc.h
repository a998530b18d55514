// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by avx2.cpp and avx512.cpp: one input at a time, in floats.

using Value = float;  // of row tiles
using PanelWeights = NarrowWeights;
constexpr int kTileProducts = kTileInputs;
