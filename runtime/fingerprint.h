// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/format.h"

namespace unmask::runtime {

/// 128 bits that tell texts apart that differ by accident: two FNV-1a hashes from different starts. Not proof against intent.
class Fingerprint {
 public:
  /// A text and where it ends: "ab", "c" and "a", "bc" give different fingerprints.
  void add(std::string_view text) {
    add_number(text.size());
    for (const char c : text) {
      add_byte(static_cast<unsigned char>(c));
    }
  }
  void add_number(std::uint64_t number) {
    for (int i = 0; i < 8; ++i) {
      add_byte(static_cast<unsigned char>(number >> (8 * i)));
    }
  }
  std::string text() const { return format("{:016x}{:016x}", lanes_[0], lanes_[1]); }

 private:
  void add_byte(unsigned char byte) {
    constexpr std::uint64_t kPrime = 0x100000001b3U;
    lanes_[0] = (lanes_[0] ^ byte) * kPrime;
    lanes_[1] = (lanes_[1] ^ byte ^ (lanes_[1] >> 29)) * kPrime;
  }
  std::array<std::uint64_t, 2> lanes_ = {0xcbf29ce484222325U, 0x9e3779b97f4a7c15U};
};

}  // namespace unmask::runtime
