// SPDX-License-Identifier: Apache-2.0
#include "base/checksum.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace unmask {
namespace {

constexpr std::uint64_t kFactor = 0x9e3779b97f4a7c15;  // odd: multiplying by it loses nothing
constexpr std::size_t kLanes = 4;                      // so that the multiplications overlap

std::uint64_t mix(std::uint64_t sum, std::uint64_t word) { return std::rotl((sum ^ word) * kFactor, 29); }

}  // namespace

std::uint64_t checksum(std::span<const std::byte> bytes) {
  std::array<std::uint64_t, kLanes> sums{1, 2, 3, 4};
  std::array<std::uint64_t, kLanes> words{};
  std::size_t at = 0;
  for (; at + sizeof words <= bytes.size(); at += sizeof words) {
    std::memcpy(words.data(), bytes.data() + at, sizeof words);
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] = mix(sums[lane], words[lane]);
    }
  }
  words = {};
  if (at < bytes.size()) {  // no bytes: data() may be null
    std::memcpy(words.data(), bytes.data() + at, bytes.size() - at);
  }
  std::uint64_t sum = bytes.size();
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    sum = mix(sum, mix(sums[lane], words[lane]));
  }
  return sum;
}

}  // namespace unmask
