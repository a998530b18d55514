// SPDX-License-Identifier: Apache-2.0
#include "comm/wire_format.h"

#include <gtest/gtest.h>

#include <bit>
#include <random>
#include <vector>

#include "base/bfloat16.h"
#include "base/types.h"

namespace unmask::comm {
namespace {

std::vector<float> hard_values(std::int64_t count) {
  std::mt19937 random(2);
  std::vector<float> values;
  for (std::int64_t i = 0; i < count; ++i) {
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random())));  // NaN, infinities and subnormals among them
  }
  return values;
}

class WireLoopsTest : public testing::TestWithParam<const WireLoops*> {};

TEST_P(WireLoopsTest, RoundLikeBfloat16AtAnyLengthAndAlignment) {
  const WireLoops& loops = *GetParam();
  for (const std::int64_t count : {0, 1, 15, 16, 17, 63, 64, 1000}) {
    const auto values = hard_values(count);
    std::vector<std::byte> message(size(2 * count + 1));
    loops.encode(values.data(), count, message.data() + 1);
    std::vector<float> back(size(count));
    loops.decode(message.data() + 1, count, back.data());
    std::vector<float> sums(size(count), 0.5F), rounded(size(count), 0.5F), whole(size(count), 0.5F);
    loops.add(message.data() + 1, count, sums.data());
    loops.add_rounded(values.data(), count, rounded.data());
    loops.add_float32(reinterpret_cast<const std::byte*>(values.data()), count, whole.data());
    const auto bits = [](float x) { return std::bit_cast<std::uint32_t>(x); };
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(bits(back[i]), bits(round_to_bfloat16(values[i]))) << i << " of " << count;
      if (values[i] == values[i]) {
        ASSERT_EQ(bits(sums[i]), bits(0.5F + round_to_bfloat16(values[i])));
        ASSERT_EQ(bits(rounded[i]), bits(sums[i]));
        ASSERT_EQ(bits(whole[i]), bits(0.5F + values[i]));
      }
    }
  }
}

std::vector<const WireLoops*> loops_here() {
  std::vector<const WireLoops*> loops = {&plain_wire_loops()};
  if (has_avx2()) {
    loops.push_back(&avx2_wire_loops());
  }
  if (has_avx512()) {
    loops.push_back(&avx512_wire_loops());
  }
  return loops;
}

INSTANTIATE_TEST_SUITE_P(Sets, WireLoopsTest, testing::ValuesIn(loops_here()));

}  // namespace
}  // namespace unmask::comm
