// SPDX-License-Identifier: Apache-2.0
#include "runtime/tensor_values.h"

#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/runtime/checkpoint_fixture.h"

namespace unmask::runtime {
namespace {

using testing::RawTensor;

TEST(TensorValues, HalvesWidenExactly) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const RawTensor raw{"F16", {1}, std::string(reinterpret_cast<const char*>(&bits), 2)};
    const float value = float_of_half(static_cast<std::uint16_t>(bits));
    if ((bits & 0x7c00) == 0x7c00) {
      EXPECT_FALSE(std::isfinite(value)) << bits;
    } else {
      EXPECT_EQ(static_cast<double>(value), testing::values_of(raw)[0]) << bits;
      EXPECT_EQ(std::signbit(value), (bits & 0x8000) != 0) << bits;
    }
  }
}

TEST(TensorValues, FindsEveryValueThatIsNotFinite) {
  for (const std::size_t length : {1U, 3U, 4U, 1023U, 1024U, 1025U, 2050U}) {
    std::vector<bfloat16> values(length, to_bfloat16(std::numeric_limits<float>::lowest() / 2));
    EXPECT_EQ(find_not_finite(values), std::nullopt);
    for (std::size_t at = 0; at < length; ++at) {
      for (const auto bad : std::to_array<std::uint16_t>({0x7f80, 0xff80, 0x7fff, 0xff81})) {
        const bfloat16 good = std::exchange(values[at], bfloat16{bad});
        ASSERT_EQ(find_not_finite(values), static_cast<std::int64_t>(at)) << length;
        values[at] = good;
      }
    }
  }
}

}  // namespace
}  // namespace unmask::runtime
