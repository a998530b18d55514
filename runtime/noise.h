// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/random.h"
#include "base/types.h"

namespace unmask::runtime {

/// The random numbers of one request: each depends on seed, request id and its place alone (DESIGN.md section 5), so on no
/// batch, order or layout. The key is philox(counter = FNV-1a of the id, key = seed); see tests/reference/decode.py.
class Noise {
 public:
  enum class Use : std::uint32_t { kToken, kRemasking };

  Noise(std::uint64_t seed, std::string_view id) {
    std::uint64_t hash = 0xcbf29ce484222325U;
    for (const char c : id) {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
    }
    const auto words = philox({low(hash), high(hash), 0, 0}, {low(seed), high(seed)});
    key_ = {words[0], words[1]};
  }

  /// Of philox, for who makes the numbers elsewhere.
  const std::array<std::uint32_t, 2>& key() const { return key_; }

  /// Uniform in (0, 1), 53 bits. `index` is the vocabulary's, or 0.
  double uniform(Use use, std::int64_t position, std::int64_t step, TokenId index) const {
    const auto x = philox({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(position),
                           static_cast<std::uint32_t>(step), static_cast<std::uint32_t>(use)}, key_);
    const std::uint64_t bits = (std::uint64_t{x[1]} << 32 | x[0]) >> 11;
    return (static_cast<double>(bits) + 0.5) * 0x1p-53;
  }

 private:
  static std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
  static std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }
  std::array<std::uint32_t, 2> key_{};
};

/// Gumbel noise on the logits of one position in one step: the arg max of logit - T ln(-ln u) is a sample of
/// softmax(logit / T) (LLaDA generate.py has it as exp(logit) / (-ln u)^T), in double precision.
struct TokenNoise {
  Noise noise;
  double temperature;
  std::int64_t position;
  std::int64_t step;

  double noised(TokenId token, double logit) const {
    return logit - temperature * std::log(-std::log(noise.uniform(Noise::Use::kToken, position, step, token)));
  }
};

}  // namespace unmask::runtime
