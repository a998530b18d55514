// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by avx512.cpp and avx512bf16.cpp, before block.inc.h: blocks of 8 rows x 2 streams in 16 of
// 32 registers. A row tile is two blocks, whose rows one pointer reaches.

constexpr int kMostRows = 8;
constexpr int kRowsOfTwoPlain = kMostRows;
constexpr int kRowsOfTwoNumbers = kMostRows;
constexpr std::int64_t kRowsFromRegisters = 16;  // of quantised weights, for each block anew; for more they are expanded before
constexpr bool kBlocksStayInTiles = true;
constexpr auto kInto = _MM_HINT_T1;  // memory that is asked for

/// sum += x * w, one input for all lanes. Written as instructions: left to itself, GCC 12 collects inputs and weights ahead of their
/// use, more of them than there are registers, and keeps sums on the stack.
inline void add_products(const float* x, const Vec& w, Vec& sum) {
  asm volatile("vfmadd231ps %1%{1to16%}, %2, %0" : "+v"(sum.part[0]) : "m"(*x), "v"(w.part[0]));
}

/// 16 numbers of four bits, the `which`-th in their word, as floats: looked up in a register of all 16 that there are.
constexpr float kNibbleUnit = 1;
inline Native native_nibble(const char* words, int which) {
  const Native table = {0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1};
  const __m512i all = _mm512_load_si512(words);
  return _mm512_permutexvar_ps(which == 0 ? all : _mm512_srli_epi32(all, static_cast<unsigned>(which) * 4), table);
}

/// 16 numbers of a byte as floats.
inline Native native_number(const char* bytes) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))));
}
