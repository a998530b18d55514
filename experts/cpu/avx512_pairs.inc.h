// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by avx512bf16.cpp: two inputs at a time. One instruction adds, in each of 16 lanes, the
// products of two neighbouring inputs in bfloat16 to a float; panels have their weights in this order (Layout::kPanels).

using Value = bfloat16;  // of row tiles
constexpr int kTileProducts = 16;

/// As those of floats, for the two inputs at x.
inline void add_products(const bfloat16* x, const Vec& w, Vec& sum) {
  asm volatile("vdpbf16ps %1%{1to16%}, %2, %0" : "+v"(sum.part[0]) : "m"(*reinterpret_cast<const char(*)[4]>(x)), "v"(w.part[0]));
}

/// A line of a panel as it lies in memory.
struct PanelWeights : Plain {
  const char* at;

  explicit PanelWeights(const char* panel) : at(panel) {}
  Vec get(int pair) const {
    Vec w;
    __builtin_memcpy(&w, at + pair * kLineBytes, sizeof w);
    return w;
  }
  void next() { at += kTileBytes; }
};
