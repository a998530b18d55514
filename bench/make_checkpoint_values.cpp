// SPDX-License-Identifier: Apache-2.0
#include "bench/make_checkpoint_values.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace unmask::bench {
namespace {

constexpr std::int64_t kPerBlock = 8;  // 16 bits of Philox's 128 for each value: more than bfloat16 can tell apart

std::uint64_t hash_of(std::string_view text) {  // FNV-1a
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  }
  return hash;
}

std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

}  // namespace

void RandomTensor::fill(std::int64_t first, std::span<bfloat16> values) const {
  const float scale = half_width / 32768.0F;
  const std::int64_t end = first + std::ssize(values);
  for (std::int64_t block = first / kPerBlock; block * kPerBlock < end; ++block) {
    const auto number = static_cast<std::uint64_t>(block);
    const auto words = philox({low(number), high(number), low(seed), high(seed)}, {low(name_hash), high(name_hash)});
    const std::int64_t begin_here = std::max(first, block * kPerBlock);
    const std::int64_t end_here = std::min(end, (block + 1) * kPerBlock);
    for (std::int64_t i = begin_here; i < end_here; ++i) {
      const std::int64_t lane = i - block * kPerBlock;
      const std::uint32_t bits = words[size(lane / 2)] >> (16 * (lane % 2)) & 0xffffU;
      // The half keeps the numbers symmetric and never 0.
      const float centred = static_cast<float>(static_cast<std::int32_t>(bits) - 32768) + 0.5F;
      values[size(i - first)] = to_bfloat16(mean + centred * scale);
    }
  }
}

RandomTensor random_tensor(const runtime::TensorSlot& slot, std::uint64_t seed) {
  RandomTensor tensor{.seed = seed, .name_hash = hash_of(slot.name)};
  if (slot.shape.size() == 1) {
    tensor.mean = 1;
    tensor.half_width = 0.1F;
  } else {
    const bool is_embedding = slot.kind == runtime::TensorKind::kEmbedding;
    const double deviation = is_embedding ? 1.0 : 1.0 / std::sqrt(static_cast<double>(slot.shape.back()));
    tensor.half_width = static_cast<float>(deviation * std::sqrt(3.0));
  }
  return tensor;
}

}  // namespace unmask::bench
