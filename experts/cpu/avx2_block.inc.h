// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by avx2.cpp, before block.inc.h: blocks of 6 rows x 2 registers, two more for weights and one
// for inputs, which are all 16 but one.

constexpr int kMostRows = 6;
constexpr int kRowsOfTwoPlain = 3;
constexpr int kRowsOfTwoNumbers = 2;
constexpr std::int64_t kRowsFromRegisters = 1 << 30;  // of quantised weights: those of all rows, for each block anew
constexpr bool kBlocksStayInTiles = false;
constexpr auto kInto = _MM_HINT_T0;  // memory that is asked for

/// sum += x * w. Written as instructions: left to itself, GCC 12 collects inputs and weights ahead of their use, more of them than
/// there are registers, and keeps sums on the stack (half the speed).
inline void add_products(const float* x, const Vec& w, Vec& sum) {
  Native v;
  asm volatile("vbroadcastss %3, %2\n\tvfmadd231ps %4, %2, %0\n\tvfmadd231ps %5, %2, %1"
               : "+x"(sum.part[0]), "+x"(sum.part[1]), "=&x"(v)
               : "m"(*x), "x"(w.part[0]), "x"(w.part[1]));
}

/// Eight numbers of four bits, the `which`-th in their word, as floats: moved to the top of the word, where their sign is the word's.
constexpr float kNibbleUnit = 0x1p-28F;
inline Native native_nibble(const char* words, int which) {
  const __m256i up = _mm256_slli_epi32(_mm256_load_si256(reinterpret_cast<const __m256i*>(words)), 28 - which * 4);
  return _mm256_cvtepi32_ps(which == 0 ? up : _mm256_and_si256(up, _mm256_set1_epi32(-0x10000000)));
}

/// Eight numbers of a byte as floats.
inline Native native_number(const char* bytes) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes))));
}
