// SPDX-License-Identifier: Apache-2.0
// runtime/noise.h on the device: the random numbers of a request's place, and Gumbel noise made of them, in double precision.
#pragma once

#include "experts/cuda/kernels.h"

namespace unmask::experts::cuda {

/// Philox4x32-10 (base/random.h): words 0 and 1.
__device__ inline uint2 philox_words(uint4 counter, uint2 key) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * counter.x;
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * counter.z;
    counter = make_uint4(static_cast<unsigned>(b >> 32) ^ counter.y ^ key.x, static_cast<unsigned>(b),
                         static_cast<unsigned>(a >> 32) ^ counter.w ^ key.y, static_cast<unsigned>(a));
    key.x += 0x9E3779B9U;
    key.y += 0xBB67AE85U;
  }
  return make_uint2(counter.x, counter.y);
}

/// logit - T ln(-ln u), u of the row's place and the token: its arg max is a sample of softmax(logit / T).
__device__ inline double noised(const DeviceQuery& query, std::int32_t token, double logit) {
  constexpr unsigned kUseToken = 0;  // runtime::Noise::Use::kToken
  const uint2 x = philox_words(make_uint4(static_cast<unsigned>(token), query.position, query.step, kUseToken),
                               make_uint2(query.noise_key[0], query.noise_key[1]));
  const std::uint64_t bits = (std::uint64_t{x.y} << 32 | x.x) >> 11;
  const double u = (static_cast<double>(bits) + 0.5) * 0x1p-53;
  return logit - query.temperature * log(-log(u));
}

}  // namespace unmask::experts::cuda
