// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by each kernel family, which defines Native, NativeInt,
// native_madd, native_sum, native_widen and kNativeBytes.
//
// Vec is always 16 floats, in one, two or four registers. So every family sums in the same shape: lane j of an accumulator
// holds the terms k = j, j + 16, j + 32, ... in this order, and sum() folds the lanes by halves. Families differ only in
// whether a multiply-add is rounded once (FMA) or twice.

constexpr int kLanes = 16;
constexpr int kNativeLanes = kNativeBytes / 4;
constexpr int kParts = kLanes / kNativeLanes;
using NativeBits = std::uint32_t __attribute__((vector_size(kNativeBytes)));
using NativeHalf = std::uint16_t __attribute__((vector_size(kNativeBytes / 2)));

struct Vec {
  Native part[kParts];
};

inline Vec broadcast(float x) {
  Vec v;
  for (auto& p : v.part) {
    p = Native{} + x;
  }
  return v;
}

inline Vec load(const float* x) {
  Vec v;
  for (int p = 0; p < kParts; ++p) {  // one by one: GCC copies all of them at once by way of the stack
    __builtin_memcpy(&v.part[p], x + p * kNativeLanes, kNativeBytes);
  }
  return v;
}

inline void store(Vec v, float* x) {
  for (int p = 0; p < kParts; ++p) {
    __builtin_memcpy(x + p * kNativeLanes, &v.part[p], kNativeBytes);
  }
}

/// bfloat16 to float: the bits move up by 16.
inline Vec load(const bfloat16* x) {
  Vec v;
  for (int p = 0; p < kParts; ++p) {
    const NativeInt wide = native_widen(x + p * kNativeLanes) << 16;
    __builtin_memcpy(&v.part[p], &wide, sizeof wide);
  }
  return v;
}

/// Values that were rounded to bfloat16: the upper halves of their bits.
inline void store(Vec v, bfloat16* x) {
  for (int p = 0; p < kParts; ++p) {
    NativeBits bits;
    __builtin_memcpy(&bits, &v.part[p], sizeof bits);
    const NativeHalf half = __builtin_convertvector(bits >> 16, NativeHalf);
    __builtin_memcpy(static_cast<void*>(x + p * kNativeLanes), &half, sizeof half);
  }
}

/// The first `count` of 16 values, the others zero: a zero term leaves every sum as it is.
template <class T>
inline Vec load_some(const T* x, std::int64_t count) {
  T padded[kLanes] = {};
  for (std::int64_t i = 0; i < count; ++i) {
    padded[i] = x[i];
  }
  return load(padded);
}

template <class T>
inline void store_some(Vec v, T* x, std::int64_t count) {
  T padded[kLanes];
  store(v, padded);
  for (std::int64_t i = 0; i < count; ++i) {
    x[i] = padded[i];
  }
}

inline Vec operator+(Vec a, Vec b) {
  for (int p = 0; p < kParts; ++p) {
    a.part[p] += b.part[p];
  }
  return a;
}
inline Vec operator-(Vec a, Vec b) {
  for (int p = 0; p < kParts; ++p) {
    a.part[p] -= b.part[p];
  }
  return a;
}
inline Vec operator*(Vec a, Vec b) {
  for (int p = 0; p < kParts; ++p) {
    a.part[p] *= b.part[p];
  }
  return a;
}
inline Vec operator/(Vec a, Vec b) {
  for (int p = 0; p < kParts; ++p) {
    a.part[p] /= b.part[p];
  }
  return a;
}

/// a * b + c.
inline Vec madd(Vec a, Vec b, Vec c) {
  for (int p = 0; p < kParts; ++p) {
    c.part[p] = native_madd(a.part[p], b.part[p], c.part[p]);
  }
  return c;
}

/// The larger of each pair; b where either is not a number.
inline Vec larger(Vec a, Vec b) {
  for (int p = 0; p < kParts; ++p) {
    b.part[p] = a.part[p] > b.part[p] ? a.part[p] : b.part[p];
  }
  return b;
}

/// Folds the lanes by halves: lane i takes lane i + 8, then i + 4, i + 2, i + 1.
inline float sum(Vec v) {
  for (int width = kParts / 2; width > 0; width /= 2) {
    for (int p = 0; p < width; ++p) {
      v.part[p] += v.part[p + width];
    }
  }
  return native_sum(v.part[0]);
}

inline float largest(Vec v) {
  float x[kLanes];
  store(v, x);
  float m = x[0];
  for (int i = 1; i < kLanes; ++i) {
    m = x[i] > m ? x[i] : m;
  }
  return m;
}

/// As round_to_bfloat16: to nearest, ties to even; a NaN stays a NaN.
inline Vec rounded(Vec v, Precision precision) {
  if (precision == Precision::kFloat32) {
    return v;
  }
  for (auto& part : v.part) {
    NativeInt bits;
    __builtin_memcpy(&bits, &part, sizeof bits);
    const NativeInt up = (bits + 0x7fff + ((bits >> 16) & 1)) & -0x10000;
    const NativeInt quiet = (bits & -0x10000) | 0x400000;
    bits = part == part ? up : quiet;
    __builtin_memcpy(&part, &bits, sizeof bits);
  }
  return v;
}

/// e^x to within 2 units in the last place; 0 below -87, infinity above 88.7, NaN stays. Own code, not libm's, which
/// may answer differently on another processor. x = n ln 2 + r, |r| <= ln 2 / 2; e^r by its Taylor polynomial of degree 7.
[[gnu::always_inline]] inline Vec exponential(Vec x) {
  const Native kMagic = Native{} + 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  Vec y;
  for (int p = 0; p < kParts; ++p) {
    Native v = x.part[p];
    const NativeInt too_small = v < -87.0F;
    const NativeInt too_large = v > 88.7F;
    v = v < -87.0F ? Native{} - 87.0F : v;
    v = v > 88.7F ? Native{} + 88.7F : v;
    const Native shifted = native_madd(v, Native{} + 1.44269504F, kMagic);
    const Native n = shifted - kMagic;
    Native r = native_madd(n, Native{} - 0.693359375F, v);
    r = native_madd(n, Native{} + 2.12194440e-4F, r);
    Native e = Native{} + 1.0F / 5040;
    e = native_madd(e, r, Native{} + 1.0F / 720);
    e = native_madd(e, r, Native{} + 1.0F / 120);
    e = native_madd(e, r, Native{} + 1.0F / 24);
    e = native_madd(e, r, Native{} + 1.0F / 6);
    e = native_madd(e, r, Native{} + 0.5F);
    e = native_madd(e, r, Native{} + 1.0F);
    e = native_madd(e, r, Native{} + 1.0F);
    // 2^n in two factors, so that n = 128 does not overflow before the product does
    NativeInt bits;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    const NativeInt exponent = bits - 0x4B400000;  // the bits of kMagic: what is left is n
    const NativeInt half = exponent >> 1;
    const NativeInt scale_a = (half + 127) << 23;
    const NativeInt scale_b = (exponent - half + 127) << 23;
    Native a, b;
    __builtin_memcpy(&a, &scale_a, sizeof a);
    __builtin_memcpy(&b, &scale_b, sizeof b);
    e = e * a * b;
    e = too_small ? Native{} : e;
    e = too_large ? Native{} + __builtin_inff() : e;
    y.part[p] = x.part[p] == x.part[p] ? e : x.part[p];
  }
  return y;
}
