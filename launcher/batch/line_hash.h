// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace unmask::launcher {

/// 128 bits that tell texts apart that differ by accident; not proof against intent.
struct LineHash {
  std::uint64_t low = 0;
  std::uint64_t high = 0;

  bool operator==(const LineHash&) const = default;
};

namespace line_hash {
/// Every bit of the result hangs on every bit of x (the finaliser of SplitMix64).
inline std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}
}  // namespace line_hash

/// `seed` keeps hashes of different kinds apart: a line's number, say.
inline LineHash hash_line(std::string_view text, std::uint64_t seed) {
  LineHash hash{line_hash::mix(seed + 0x9e3779b97f4a7c15U), line_hash::mix(text.size() ^ 0xd1b54a32d192ed03U)};
  while (!text.empty()) {
    std::uint64_t word = 0;
    const std::size_t n = text.size() < sizeof word ? text.size() : sizeof word;
    std::memcpy(&word, text.data(), n);
    hash.low = line_hash::mix(hash.low ^ word);
    hash.high = line_hash::mix(hash.high + word * 0x9e3779b97f4a7c15U + hash.low);
    text.remove_prefix(n);
  }
  return {line_hash::mix(hash.low + hash.high), line_hash::mix(hash.high ^ 0x2545f4914f6cdd1dU)};
}

}  // namespace unmask::launcher
