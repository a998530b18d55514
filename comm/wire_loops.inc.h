// SPDX-License-Identifier: Apache-2.0
// Included inside an anonymous namespace by each instruction set: plain loops that compilers turn into vectors. All of them do
// the same to each value by itself, so that every instruction set gives the same bits.

// memcpy, because a row may begin at an odd address; compilers turn it into plain (vector) moves.
template <class T>
inline T get(const std::byte* in, std::int64_t i) {
  T value;
  std::memcpy(&value, in + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}
template <class T>
inline void put(std::byte* out, std::int64_t i, T value) {
  std::memcpy(out + i * static_cast<std::int64_t>(sizeof(T)), &value, sizeof(T));
}

void encode_bfloat16(const float* __restrict values, std::int64_t count, std::byte* __restrict out) {
  for (std::int64_t i = 0; i < count; ++i) {
    put(out, i, to_bfloat16(values[i]).bits);
  }
}

void decode_bfloat16(const std::byte* __restrict in, std::int64_t count, float* __restrict values) {
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] = to_float(bfloat16{get<std::uint16_t>(in, i)});
  }
}

void add_bfloat16(const std::byte* __restrict in, std::int64_t count, float* __restrict sums) {
  for (std::int64_t i = 0; i < count; ++i) {
    sums[i] += to_float(bfloat16{get<std::uint16_t>(in, i)});
  }
}

void add_float32(const std::byte* __restrict in, std::int64_t count, float* __restrict sums) {
  for (std::int64_t i = 0; i < count; ++i) {
    sums[i] += get<float>(in, i);
  }
}

void add_rounded_bfloat16(const float* __restrict addends, std::int64_t count, float* __restrict sums) {
  for (std::int64_t i = 0; i < count; ++i) {
    sums[i] += round_to_bfloat16(addends[i]);
  }
}
